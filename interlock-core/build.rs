//! Generates the Rust side of the contract in `proto/`, without a `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[cfg(feature = "grpc")]
    {
        println!("cargo:rerun-if-changed=proto/interlock/v1/interlock.proto");
        let files = protox::compile(["interlock/v1/interlock.proto"], ["proto"])?;
        tonic_prost_build::configure().compile_fds(files)?;
    }
    Ok(())
}
