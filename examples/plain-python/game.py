"""A lobby in plain Python: welcomes players, announces them to each other and echoes what they send.

Written from docs/protocol.md; Python 3.9 or newer, standard library only.
"""
import json
import os
import random
import signal
import sys
import time
import urllib.error
import urllib.request

URL = os.environ["OMGSERVERS_SERVICE_URL"] + "/service/v1/entrypoint/runtime/request/"
CREDENTIALS = {
    "runtime_id": os.environ["OMGSERVERS_RUNTIME_ID"],
    "password": os.environ["OMGSERVERS_PASSWORD"],
}


def post(verb, body, token=None):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = "Bearer " + token
    request = urllib.request.Request(URL + verb, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def deliver(verb, body, token=None):
    """Repeats the same body until the backend answers; raises what is final (4xx other than 429)."""
    pause = 0.2
    while True:
        try:
            return post(verb, body, token)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (410, 429):
                raise
        except (OSError, ValueError):
            pass
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(pause * 2, 60)


class Game:
    def __init__(self):
        self.players, self.outgoing = set(), []
        self.counter = int(time.time() * 1_000_000)

    def send(self, qualifier, **body):
        self.outgoing.append({"id": self.counter, "qualifier": qualifier, "body": body})
        self.counter += 1

    def handle(self, qualifier, body):
        client = body.get("client_id")
        if qualifier in ("ADD_CLIENT", "ADD_MATCH_CLIENT"):
            self.players.add(client)
            self.send("RESPOND_CLIENT", client_id=client, message={"welcome": client})
            self.send("BROADCAST_MESSAGE", message={"players": len(self.players)})
        elif qualifier == "DELETE_CLIENT":
            self.players.discard(client)
        elif qualifier == "HANDLE_MESSAGE":
            self.send("RESPOND_CLIENT", client_id=client, message={"echo": body["message"]})


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    game, token, consumed, last = Game(), deliver("create-token", CREDENTIALS)["api_token"], [], 0
    while True:
        body = {"outgoing_commands": game.outgoing, "consumed_commands": consumed, "wait": 20000}
        try:
            answer = deliver("interchange", body, token)
        except urllib.error.HTTPError as error:
            if error.code != 401:
                sys.exit(f"refused: {error.code} {error.read().decode()}")
            token = deliver("create-token", CREDENTIALS)["api_token"]
            continue
        for rejected in answer.get("rejected_commands", []):
            print("rejected:", rejected, flush=True)
        game.outgoing, consumed = [], [entry["id"] for entry in answer["incoming_commands"]]
        for entry in answer["incoming_commands"]:
            if int(entry["id"]) > last:  # Others are repetitions.
                last = int(entry["id"])
                game.handle(entry["qualifier"], entry["body"])


main()
