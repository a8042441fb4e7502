//! Messages of the contract between core, extensions and proxies.

use std::sync::LazyLock;

use interlock_core::grpc::convert::{self, Malformed};
use interlock_core::grpc::v1;
use interlock_core::kinds;
use interlock_core::reconcile::reconcile_embedded;
use prost::Message;

use super::pipeline;

/// Reads any bytes as each message. What is read is the same when it is sent again, and nothing that is made of it panics.
pub fn any_bytes(bytes: &[u8]) {
    if let Ok(model) = v1::Model::decode(bytes) {
        any_model(&model);
    }
    if let Ok(files) = v1::Files::decode(bytes) {
        any_files(files);
    }
    if let Ok(posted) = v1::PostRequest::decode(bytes) {
        any_post(posted);
    }
}

/// The bytes of a right message of each kind, to begin with.
pub static RIGHT: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let (outcome, _) = reconcile_embedded(&pipeline::alone());
    let configs = outcome.proxy_configs.iter();
    let messages = configs.flat_map(|((_, generation), config)| {
        let rendering = kinds::render(config, usize::MAX);
        let files = rendering.result.as_deref().unwrap_or_default();
        [
            convert::model_to_wire(generation, config, 1000).encode_to_vec(),
            convert::files_to_wire(files).encode_to_vec(),
            convert::rendering_to_wire(generation, &rendering).encode_to_vec(),
        ]
    });
    messages.collect()
});

fn any_model(model: &v1::Model) {
    let Ok(read) = said(convert::model_from_wire(model)) else { return };
    let sent = convert::model_to_wire(&read.generation, &read.config, read.file_limit);
    assert_eq!(convert::model_from_wire(&sent).as_ref(), Ok(&read));
    // What the operator's own text makes of it is for the comparison to find.
    let _ = kinds::render(&read.config, read.file_limit.min(1 << 20));
}

fn any_files(files: v1::Files) {
    // Arbitrary bytes hardly ever have the right hash.
    let hashed = v1::Files { hash: hash(&files), ..files.clone() };
    let _ = said(convert::files_from_wire(files));
    let Ok(read) = said(convert::files_from_wire(hashed.clone())) else { return };
    assert_eq!(convert::files_to_wire(&read), hashed);
    let folder = read[0].path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    for file in &read {
        let below = file.path.strip_prefix(&folder).unwrap_or_default();
        let leaves = below.split('/').any(|name| name == "..");
        assert!(below.starts_with('/') && !leaves && !below.chars().any(char::is_control), "{:?}", file.path);
    }
}

fn hash(files: &v1::Files) -> String {
    let file = |file: &v1::File| kinds::File {
        path: file.path.clone(),
        part: file.part.clone(),
        content: file.content.as_str().into(),
    };
    kinds::hash(&files.files.iter().map(file).collect::<Vec<_>>())
}

fn any_post(posted: v1::PostRequest) {
    let Ok(read) = said(convert::posted_from_wire(posted)) else { return };
    let Ok(hash) = &read.result else { return };
    let again = v1::PostRequest {
        generation: read.generation.to_string(),
        revision: read.revision.to_string(),
        result: Some(v1::post_request::Result::FilesHash(hash.clone())),
    };
    assert_eq!(convert::posted_from_wire(again).as_ref(), Ok(&read));
}

/// What is refused is told in words that a log can hold.
fn said<T>(read: Result<T, Malformed>) -> Result<T, Malformed> {
    read.inspect_err(|malformed| {
        let text = malformed.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
    })
}
