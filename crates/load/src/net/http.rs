//! A keep-alive connection with one request at a time.

use std::{io::Write as _, ops::Range, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{CallFailure, Target};

/// How long an answer may take, beside the time that was asked to wait.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a connection may take to be opened.
const CONNECT: Duration = Duration::from_secs(5);
const MOST_HEADERS: usize = 32;
/// The largest answer, bytes: the largest that the backend gives, with room.
const MOST_BYTES: usize = 32 << 20;

/// What a request asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLine<'a> {
    /// The role of the path.
    pub(crate) role: &'a str,
    /// The verb of the path.
    pub(crate) verb: &'a str,
    /// The token, if there is one.
    pub(crate) token: Option<&'a str>,
}

/// A connection, opened when it is needed.
pub(crate) struct HttpConnection {
    target: Rc<Target>,
    stream: Option<TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// An answer in the buffer.
struct AnswerHead {
    status: u16,
    body: Range<usize>,
    closes: bool,
    pause: Option<Duration>,
}

impl HttpConnection {
    pub(crate) fn new(target: &Rc<Target>) -> Self {
        Self { target: Rc::clone(target), stream: None, request: Vec::new(), answer: Vec::new() }
    }

    /// Asks, and answers the body of a success.
    pub(crate) async fn post(&mut self, line: RequestLine<'_>, body: &str) -> Result<&[u8], CallFailure> {
        let found = match tokio::time::timeout(ANSWER, self.exchange(line, body)).await {
            Ok(Ok(found)) => found,
            Ok(Err(failure)) => {
                self.stream = None;
                return Err(failure);
            }
            Err(_elapsed) => {
                self.stream = None;
                return Err(CallFailure::timeout());
            }
        };
        if found.closes {
            self.stream = None;
        }
        let body = self.answer.get(found.body).unwrap_or_default();
        if found.status == 200 {
            Ok(body)
        } else {
            Err(CallFailure::refused(found.status, body, found.pause))
        }
    }

    async fn exchange(&mut self, line: RequestLine<'_>, body: &str) -> Result<AnswerHead, CallFailure> {
        self.write(line, body);
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(connect(&self.target).await?),
        };
        stream.write_all(&self.request).await.map_err(CallFailure::broken)?;
        self.answer.clear();
        loop {
            let read = stream.read_buf(&mut self.answer).await.map_err(CallFailure::broken)?;
            if read == 0 {
                return Err(CallFailure::broken("the backend closed it"));
            }
            if let Some(found) = parse(&self.answer)? {
                return Ok(found);
            }
            if self.answer.len() > MOST_BYTES {
                return Err(CallFailure::foreign("an endless answer"));
            }
        }
    }

    fn write(&mut self, RequestLine { role, verb, token }: RequestLine<'_>, body: &str) {
        self.request.clear();
        let (host, length) = (&self.target.host, body.len());
        let out = &mut self.request;
        // Writing into memory doesn't fail.
        let _infallible = write!(
            out,
            "POST /service/v1/entrypoint/{role}/request/{verb} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        );
        if let Some(token) = token {
            let _infallible = write!(out, "authorization: Bearer {token}\r\n");
        }
        let _infallible = write!(out, "content-length: {length}\r\n\r\n{body}");
    }
}

/// Opens a connection without delays for small packets.
pub(super) async fn connect(target: &Target) -> Result<TcpStream, CallFailure> {
    let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(target.address));
    let stream = connecting.await.map_err(CallFailure::connect)?.map_err(CallFailure::connect)?;
    stream.set_nodelay(true).map_err(CallFailure::connect)?;
    Ok(stream)
}

/// The answer, when it is complete.
fn parse(bytes: &[u8]) -> Result<Option<AnswerHead>, CallFailure> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = answer.parse(bytes).map_err(CallFailure::foreign)? else {
        return Ok(None);
    };
    let header = |name: &str| {
        let found = answer.headers.iter().find(|it| it.name.eq_ignore_ascii_case(name));
        found.and_then(|it| std::str::from_utf8(it.value).ok())
    };
    let length: usize = header("content-length")
        .and_then(|it| it.trim().parse().ok())
        .ok_or_else(|| CallFailure::foreign("an answer without a length"))?;
    let Some(end) = head.checked_add(length).filter(|it| *it <= MOST_BYTES) else {
        return Err(CallFailure::foreign("an endless answer"));
    };
    Ok((bytes.len() >= end).then(|| AnswerHead {
        status: answer.code.unwrap_or_default(),
        body: head..end,
        closes: header("connection").is_some_and(|it| it.eq_ignore_ascii_case("close")),
        pause: header("retry-after").and_then(|it| it.parse().ok()).map(Duration::from_secs),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::net::TcpListener;

    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nContent-Type: application/json\r\n\r\n{\"a\"";

    proptest! {
        #[test]
        fn an_answer_is_read_in_whatever_pieces_it_comes(cut in 0..OK.len()) {
            prop_assert!(parse(&OK.as_bytes()[..cut]).unwrap().is_none());
            let found = parse(OK.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(&OK.as_bytes()[found.body], b"{\"a\"");
        }

        #[test]
        fn no_answer_makes_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn an_answer_without_a_length_is_not_understood() {
        let failure = parse(b"HTTP/1.1 200 OK\r\n\r\n").err().unwrap();
        assert_eq!(failure.kind, "not understood");
        let failure = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999\r\n\r\n").err().unwrap();
        assert_eq!(failure.kind, "not understood");
    }

    async fn serve(answers: Vec<&'static str>) -> Rc<Target> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 4096];
                assert!(stream.read(&mut buffer).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Rc::new(Target { address, host: address.to_string() })
    }

    #[tokio::test]
    async fn refusals_are_counted_by_status_and_code_and_a_closed_connection_is_opened_again() {
        let refusal = concat!(
            "HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\nretry-after: 2\r\ncontent-length: 75\r\n\r\n",
            r#"{"qualifier":"Q","code":"limits.rate","detail":"too many","request_id":"r"}"#
        );
        let target = serve(vec![refusal, OK, ""]).await;
        let mut http = HttpConnection::new(&target);
        let line = RequestLine { role: "player", verb: "create-user", token: Some("t") };
        let failure = http.post(line, "{}").await.unwrap_err();
        assert_eq!((failure.kind.as_str(), failure.pause), ("429 limits.rate", Some(Duration::from_secs(2))));
        assert_eq!(http.post(line, "{}").await.unwrap(), b"{\"a\"");
        assert_eq!(http.post(line, "{}").await.unwrap_err().kind, "connection broke");
        assert!(http.stream.is_none(), "the next request opens another");
    }
}
