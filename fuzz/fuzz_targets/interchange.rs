//! Bodies of interchanges and of a version's configuration: a decoder answers for any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use omgservers_api::{
    Validate as _,
    config::VersionConfig,
    entrypoint::developer::CreateVersionRequest,
    interchange::{PlayerInterchangeRequest, RuntimeInterchangeRequest, SetProfile, ToClients},
};
use omgservers_http::decode;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode::<PlayerInterchangeRequest<'_>>(bytes);
    if let Ok(request) = decode::<RuntimeInterchangeRequest<'_>>(bytes) {
        for command in request.outgoing_commands {
            let body = command.body.map_or("{}", |it| it.get());
            let _ = serde_json::from_str::<ToClients<'_>>(body);
            let _ = serde_json::from_str::<SetProfile<'_>>(body);
        }
    }
    if let Ok(request) = decode::<CreateVersionRequest>(bytes) {
        // What was read and found good is read again as it is written.
        if request.validate().is_ok() {
            let text = serde_json::to_string(&request.config).expect("a configuration is JSON");
            serde_json::from_str::<VersionConfig>(&text).expect("what we wrote");
        }
    }
});
