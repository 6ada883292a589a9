//! temporary
fn main() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let a: Vec<String> = std::env::args().collect();
    let keys = [
        ("--listen", "listen"),
        ("--gateway", "gateway.url"),
        ("--gateway-state", "gateway.state"),
        ("--data", "data"),
        ("--mode", "mode"),
    ];
    let flags: Vec<_> = keys
        .iter()
        .filter_map(|(n, k)| {
            let i = a.iter().position(|x| x == n)?;
            Some(scope_shim::config::Flag {
                key: k,
                name: n,
                value: a.get(i + 1)?.clone(),
            })
        })
        .collect();
    let config = match scope_shim::config::Config::load(
        None,
        &flags,
        &scope_shim::config::Environment::of_process(),
    ) {
        Ok(c) => c,
        Err(e) => {
            eprintln!("{e:?}");
            std::process::exit(78)
        }
    };
    let rt = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    if let Err(e) = rt.block_on(scope_shim::app::run(config)) {
        eprintln!("{e}");
        std::process::exit(1)
    }
}
