//! The clients of a run: the scenario's calls, and the patient client that reaps.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use shakedown_cri::cri::{
    ContainerConfig, ContainerEvent, ContainerFilter, EventStream, LocalFuture, RuntimeService,
};
use shakedown_cri::ports::{Code, Context, Error, Runtime};

use super::compile::{ContainerPlan, Plan, resources};
use super::outcome::Reply;
use crate::scenario::{Action, Target};
use crate::turnstile::{Flow, Op, Sim, SimRuntime, Symbol};

pub(crate) type Answers = Rc<RefCell<Vec<Option<Result<Reply, Error>>>>>;

/// The id that a call sends.
pub(super) fn target_id(plan: &Plan, target: &Target) -> String {
    match target {
        Target::Literal(id) => id.clone(),
        Target::Container(name) => {
            plan.container(name).map(|c| c.id.clone()).unwrap_or_else(|| name.clone())
        }
    }
}

/// Makes one call of the scenario. `attempt`: which of its name a container that a kubelet creates is, from 0.
pub(super) fn call(
    sim: &Sim,
    plan: &Plan,
    service: &Rc<dyn RuntimeService>,
    ctx: Context,
    action: &Action,
    attempt: u32,
) -> LocalFuture<Result<Reply, Error>> {
    let sandbox_id =
        |name: &str| plan.sandbox(name).map(|s| s.id.clone()).unwrap_or_else(|| name.to_owned());
    let nothing = |future: LocalFuture<Result<(), Error>>| -> LocalFuture<Result<Reply, Error>> {
        Box::pin(async move { future.await.map(|()| Reply::Nothing) })
    };
    match action {
        Action::Create { container, attempt: of_file } => {
            let Some(container) = plan.container(container) else {
                return Box::pin(std::future::ready(Err(Error::unknown("no such container"))));
            };
            let made = service.create_container(
                ctx,
                container.sandbox_id.clone(),
                ContainerConfig { attempt: attempt + of_file, ..container.config.clone() },
            );
            Box::pin(async move { made.await.map(Reply::Id) })
        }
        Action::Start { target } => nothing(service.start_container(ctx, target_id(plan, target))),
        Action::Stop { target, timeout } => {
            nothing(service.stop_container(ctx, target_id(plan, target), *timeout))
        }
        Action::Remove { target } => {
            nothing(service.remove_container(ctx, target_id(plan, target)))
        }
        Action::Update { target, limits } => {
            let limits = resources(*limits);
            nothing(service.update_container_resources(ctx, target_id(plan, target), limits))
        }
        Action::ReopenLog { target } => {
            nothing(service.reopen_container_log(ctx, target_id(plan, target)))
        }
        Action::Events => {
            let stream = Stream { sim: sim.clone(), ctx: ctx.clone() };
            nothing(service.get_container_events(ctx, Rc::new(stream)))
        }
        Action::Status { target, verbose } => {
            let status = service.container_status(ctx, target_id(plan, target), *verbose);
            Box::pin(async move { status.await.map(|status| Reply::Status(Box::new(status))) })
        }
        Action::List => {
            let list = service.list_containers(ctx, ContainerFilter::default());
            Box::pin(async move { list.await.map(Reply::List) })
        }
        Action::StopPod { sandbox } => nothing(service.stop_pod_sandbox(ctx, sandbox_id(sandbox))),
        Action::RemovePod { sandbox } => {
            nothing(service.remove_pod_sandbox(ctx, sandbox_id(sandbox)))
        }
        Action::Kubelet(_) => unreachable!("a plan has the calls of a kubelet in its place"),
        Action::PluginUpdate { plugin, container, limits } => {
            let id = plan.container(container).map(|c| c.id.clone()).unwrap_or_default();
            let updates = vec![(id, resources(*limits))];
            let (sim, service, plugin) = (sim.clone(), service.clone(), plugin.clone());
            Box::pin(async move {
                if !sim.with_world(|world| world.plugin_is_connected(&plugin)) {
                    return Err(Error::unknown("ttrpc: closed"));
                }
                service.update_from_plugin(updates).await.map(|()| Reply::Nothing)
            })
        }
        Action::ConnectPlugin { plugin } => {
            let (sim, service, plugin) = (sim.clone(), service.clone(), plugin.clone());
            Box::pin(async move {
                sim.with_world(|world| world.connect_plugin(&plugin));
                let answer = service.connect_plugin(plugin.clone()).await;
                if answer.is_err() {
                    sim.with_world(|world| world.close_plugin(&plugin));
                }
                answer.map(|()| Reply::Nothing)
            })
        }
    }
}

/// The stream of a GetContainerEvents request.
struct Stream {
    sim: Sim,
    /// The client's.
    ctx: Context,
}

impl EventStream for Stream {
    fn send(&self, event: ContainerEvent) -> LocalFuture<Result<(), Error>> {
        let (client, ctx) = (self.sim.current_actor(), self.ctx.clone());
        let subject = Symbol::of(&event.container_id);
        let sent = self.sim.call(Op::EventStream, subject, None, move |world| {
            let ended = ctx.end().filter(|(at, _)| at.0 <= world.now);
            Flow::Done(match ended {
                None => {
                    world.streamed.entry(client).or_default().push(event.clone());
                    Ok(())
                }
                Some((_, code)) => {
                    let text = format!("rpc error: code = Canceled desc = {}", code.text());
                    Err(Error::new(Code::Cancelled, text))
                }
            })
        });
        Box::pin(sent)
    }
}

/// How patient the reaping client is.
const DEADLINE: Duration = Duration::from_secs(120);
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// One step of reaping that never succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreaped {
    /// `stop web`
    pub step: String,
    pub error: Error,
}

/// What reaping found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    pub failed: Vec<Unreaped>,
    /// Containers that were CREATED in a ready sandbox, and what one more start brought.
    pub restarted: Vec<(String, Result<(), Error>)>,
    /// Containers that calls of the scenario made, and what one more creation brought once they were
    /// removed.
    pub made_again: Vec<(String, Result<(), Error>)>,
}

/// Stops and removes everything, with retries.
pub(super) struct Reaper {
    pub sim: Sim,
    /// Of the boot that serves while the node is reaped.
    pub service: Rc<dyn RuntimeService>,
    /// Calls whose client gave up: the service goes on with them.
    abandoned: RefCell<Vec<LocalFuture<Result<(), Error>>>>,
}

impl Reaper {
    pub fn new(sim: Sim, service: Rc<dyn RuntimeService>) -> Self {
        Reaper { sim, service, abandoned: RefCell::new(Vec::new()) }
    }

    /// Awaits a call of the service until it answers or the deadline passes.
    async fn patiently(&self, mut call: LocalFuture<Result<(), Error>>) -> Result<(), Error> {
        let runtime = SimRuntime::new(self.sim.clone(), 0);
        let answer = {
            let mut timeout = pin!(runtime.sleep(DEADLINE));
            poll_fn(|cx| {
                self.abandoned.borrow_mut().retain_mut(|old| old.as_mut().poll(cx).is_pending());
                if let Poll::Ready(answer) = call.as_mut().poll(cx) {
                    return Poll::Ready(Some(answer));
                }
                timeout.as_mut().poll(cx).map(|()| None)
            })
            .await
        };
        answer.unwrap_or_else(|| {
            self.abandoned.borrow_mut().push(call);
            Err(Error::new(Code::DeadlineExceeded, "the client's deadline passed"))
        })
    }

    fn context(&self) -> Context {
        Context::background().with_timeout(self.sim.now(), DEADLINE)
    }

    /// Makes a container of the same name once more, and removes it: without retry.
    pub async fn make_again(&self, container: &ContainerPlan) -> Result<(), Error> {
        let (service, ctx) = (self.service.clone(), self.context());
        let (sandbox_id, config) = (container.sandbox_id.clone(), container.config.clone());
        let call = async move {
            let id = service.create_container(ctx.clone(), sandbox_id, config).await?;
            service.remove_container(ctx, id).await
        };
        self.patiently(Box::pin(call)).await
    }

    /// One start, without retry.
    pub async fn start(&self, id: &str) -> Result<(), Error> {
        self.patiently(self.service.start_container(self.context(), id.to_owned())).await
    }

    /// Repeats a call on the container or sandbox until it succeeds. What is not known needs no
    /// reaping; a container that is still known, whatever else was not found, does.
    pub async fn insist(
        &self,
        id: &str,
        call: impl Fn(&Rc<dyn RuntimeService>, Context) -> LocalFuture<Result<(), Error>>,
    ) -> Result<(), Error> {
        let runtime = SimRuntime::new(self.sim.clone(), 0);
        let mut pause = FIRST_PAUSE;
        let mut tried = 0;
        loop {
            let answer = self.patiently(call(&self.service, self.context())).await;
            tried += 1;
            match answer {
                Err(error) if error.is_not_found() && self.service.peek(id).is_none() => {
                    return Ok(());
                }
                answer if answer.is_ok() || tried == TRIES => return answer,
                _ => {}
            }
            runtime.sleep(pause).await;
            pause *= 2;
        }
    }
}
