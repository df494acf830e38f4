use std::process::ExitCode;
use std::rc::Rc;

use shakedown::cri::{LocalFuture, Peek, RuntimeService};
use shakedown::ports::Error;
use shakedown::under_test::{Boot, UnderTest};

struct Mine;

impl UnderTest for Mine {
    fn name(&self) -> &'static str {
        "mine"
    }

    fn what(&self) -> &'static str {
        "the runtime of this page"
    }

    fn boot(&self, _boot: Boot) -> Rc<dyn RuntimeService> {
        Rc::new(Service)
    }
}

struct Service;

impl RuntimeService for Service {
    fn run(&self) -> LocalFuture<Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn peek(&self, _id: &str) -> Option<Peek> {
        None
    }
}

fn main() -> ExitCode {
    shakedown::cli::main_for(Mine)
}
