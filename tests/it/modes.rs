use scope_shim::demo::simulated::Profile;

use crate::stage::Stage;
use crate::support::client::{FULL, LEGACY, READ};

#[tokio::test]
async fn off_and_observe_leave_every_answer_to_the_gateway() {
    for mode in ["off", "observe"] {
        let stage = Stage::with(Profile::Literal, |setup| {
            setup.config = format!("mode = \"{mode}\"\n")
        })
        .await;
        let device = stage.paired(LEGACY);
        let (direct, through) = stage.both(|connect| connect.device(&device).scopes(&[READ]));
        let direct = direct.run().await;
        assert_eq!(through.run().await.whole(), direct.whole(), "{mode}");
        assert!(direct.session.is_none());
        let accepted = stage.through().device(&device).scopes(LEGACY).run().await;
        assert!(accepted.session.is_some(), "{mode}");
    }
}

#[tokio::test]
async fn off_still_tells_local_from_remote() {
    let stage = Stage::with(Profile::Clearing, |setup| {
        setup.config = "mode = \"off\"\n".into()
    })
    .await;
    let spoofing = stage
        .through()
        .client("cli", "probe")
        .scopes(FULL)
        .header("X-Forwarded-For", "127.0.0.1");
    assert_eq!(spoofing.run().await.label().await, "ok ·");
}
