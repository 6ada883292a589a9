//! The shim for a long time, and under a storm: `cargo bench --bench endurance -- soak`, and `-- storm`.
//!
//! The program runs as it is shipped, with everything on. The gateway and the clients are in this process: the gateway
//! computes nothing and echoes, the clients check every byte that comes back. What went on is printed as a small report;
//! the bench fails where something was lost, or where something grew.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench that fails has nothing to say, and its output is for people"
)]

#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
#[path = "../peers/fixture.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the other benches")]
mod fixture;
#[cfg(target_os = "linux")]
mod gateway;
#[cfg(target_os = "linux")]
#[path = "../peers/process.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the other benches")]
mod process;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod shim;
#[cfg(target_os = "linux")]
mod soak;
#[cfg(target_os = "linux")]
mod storm;
#[cfg(target_os = "linux")]
#[path = "../peers/wire.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the other benches")]
mod wire;

#[cfg(target_os = "linux")]
#[tokio::main]
async fn main() {
    use clap::Parser as _;

    let arguments = Arguments::parse();
    let program = &arguments.shim;
    let held = match &arguments.what {
        What::Soak(wishes) => soak::run(program, wishes).await,
        What::Storm(wishes) => storm::run(program, wishes).await,
    };
    std::process::exit(i32::from(!held));
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this bench reads memory and descriptors in /proc: it runs on Linux");
}

/// The shim for a long time, and under a storm
#[cfg(target_os = "linux")]
#[derive(clap::Parser)]
struct Arguments {
    /// The build of the shim
    #[arg(long, global = true, default_value = env!("CARGO_BIN_EXE_scope-shim"))]
    shim: std::path::PathBuf,
    /// What cargo passes to a bench
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    what: What,
}

#[cfg(target_os = "linux")]
#[derive(clap::Subcommand)]
enum What {
    /// Sessions that stand and sessions that come and go, while modes, files, store and gateway change
    Soak(soak::Wishes),
    /// All sessions come back at once when the gateway is up again
    Storm(storm::Wishes),
}
