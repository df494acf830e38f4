//! The service: what the calls share, and the wrapper around each of them (spec section 0.5).

use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::bounded::Bounded;
use crate::config::{CALL_TIMEOUT, Config, DEFER_TIMEOUT, HANDLE_EVENT_TIMEOUT};
use crate::cri::{
    ContainerConfig, ContainerFilter, ContainerStatus, ContainerSummary, EventStream, LocalFuture,
    Peek, RuntimeService, Sandbox,
};
use crate::event_loop::Event;
use crate::nri::NriState;
use crate::ports::{Clock, Context, Error, Name, NriUpdate, Ports, Runtime, Value};
use crate::quirks::{Quirk, Quirks};
use crate::quote::quote;
use crate::store::{ContainerStore, LinuxResources, NameIndex, SandboxStore};
use tracing::{debug, error, info, trace};

/// One instance of the CRI runtime service. Clones share.
pub struct Service<P: Ports>(Rc<Shared<P>>);

/// What all calls and background tasks of a service share.
pub struct Shared<P: Ports> {
    pub(crate) ports: P,
    pub(crate) config: Config,
    pub(crate) quirks: Quirks,
    pub(crate) containers: ContainerStore<P>,
    pub(crate) sandboxes: SandboxStore<P>,
    pub(crate) names: NameIndex<P>,
    pub(crate) nri: <P::Runtime as Runtime>::Lock<NriState>,
    /// Read by calls that block the synchronisation of plugins, written by a synchronisation.
    pub(crate) nri_sync: <P::Runtime as Runtime>::Lock<()>,
    pub(crate) backoff: <P::Runtime as Runtime>::Lock<Backoff<Event>>,
    /// Held by whoever handles an event, or events that waited.
    pub(crate) event_turn: <P::Runtime as Runtime>::Lock<()>,
    /// Counts the stops that found nothing to stop, so that a start can tell those that came while it
    /// was under way.
    pub(crate) stops: <P::Runtime as Runtime>::Value<u64>,
    /// Set once, when the service has come up.
    initialized: <P::Runtime as Runtime>::Value<bool>,
}

impl<P: Ports> Clone for Service<P> {
    fn clone(&self) -> Self {
        Service(self.0.clone())
    }
}

impl<P: Ports> Deref for Service<P> {
    type Target = Shared<P>;

    fn deref(&self) -> &Shared<P> {
        &self.0
    }
}

/// How a call is logged: the ones that change something on level info, the others on trace.
#[derive(Clone, Copy)]
enum Loudness {
    Info,
    Trace,
}

impl<P: Ports> Service<Bounded<P>> {
    pub fn new(ports: P, config: Config, quirks: Quirks) -> Self {
        let ports = Bounded::new(ports, quirks);
        let runtime = ports.runtime();
        Service(Rc::new(Shared {
            containers: ContainerStore::new(&ports),
            sandboxes: SandboxStore::new(&ports),
            names: NameIndex::new(&ports),
            nri: runtime.lock(Name::new("nri", ""), NriState::default()),
            nri_sync: runtime.lock(Name::new("nri-sync", ""), ()),
            backoff: runtime.lock(Name::new("backoff", ""), Backoff::default()),
            event_turn: runtime.lock(Name::new("event-turn", ""), ()),
            stops: runtime.value(0),
            initialized: runtime.value(false),
            config,
            quirks,
            ports,
        }))
    }
}

impl<P: Ports> Service<P> {
    /// The context of one clean-up step, made when the step begins (spec section 0.4).
    pub(crate) fn defer_context(&self) -> Context {
        Context::background().with_timeout(self.ports.clock().now(), DEFER_TIMEOUT)
    }

    /// The context of what the service looks up or does on nobody's behalf. It has no end with
    /// [`Quirk::CallsUnbounded`].
    pub(crate) fn own_context(&self) -> Context {
        self.own_context_below(&Context::background())
    }

    /// The same, where the client's patience counts too.
    pub(crate) fn own_context_below(&self, ctx: &Context) -> Context {
        match self.quirks.has(Quirk::CallsUnbounded) {
            true => ctx.clone(),
            false => ctx.with_timeout(self.ports.clock().now(), HANDLE_EVENT_TIMEOUT),
        }
    }

    /// The context that a call works under: its client's, whose patience is not endless without
    /// [`Quirk::CallsUnbounded`]. `grace`: seconds that the call is to wait for what it asks for.
    fn call_context(&self, ctx: &Context, grace: i64) -> Context {
        if self.quirks.has(Quirk::CallsUnbounded) {
            return ctx.clone();
        }
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        ctx.with_timeout(self.ports.clock().now(), CALL_TIMEOUT.saturating_add(grace))
    }

    /// Runs the implementation of a call: not before the service is up, and logged. `what` makes the
    /// text of the log, such as `StartContainer for "web"`.
    fn serve<T: 'static>(
        &self,
        loudness: Loudness,
        what: impl Fn() -> String + 'static,
        call: impl AsyncFnOnce(Self) -> Result<T, Error> + 'static,
    ) -> LocalFuture<Result<T, Error>> {
        self.serve_with(loudness, what, String::new, call)
    }

    /// As [`Service::serve`]; `detail` stands in the request's line of the log only.
    fn serve_with<T: 'static>(
        &self,
        loudness: Loudness,
        what: impl Fn() -> String + 'static,
        detail: impl Fn() -> String + 'static,
        call: impl AsyncFnOnce(Self) -> Result<T, Error> + 'static,
    ) -> LocalFuture<Result<T, Error>> {
        let service = self.clone();
        Box::pin(async move {
            if !service.initialized.get() {
                return Err(Error::unknown("server is not initialized yet"));
            }
            match loudness {
                Loudness::Info => info!("{}{}", what(), detail()),
                Loudness::Trace => trace!("{}{}", what(), detail()),
            }
            let result = call(service).await;
            match (&result, loudness) {
                (Err(error), _) => error!(%error, "{} failed", what()),
                (Ok(_), Loudness::Info) => info!("{} returns successfully", what()),
                (Ok(_), Loudness::Trace) => trace!("{} returns successfully", what()),
            }
            result
        })
    }
}

impl<P: Ports> RuntimeService for Service<P> {
    fn run(&self) -> LocalFuture<Result<(), Error>> {
        let service = self.clone();
        Box::pin(async move {
            service.subscribe_events();
            service.recover().await.map_err(|e| e.wrap("failed to recover state"))?;
            service.start_event_loop();
            service.nri_register_connected().await;
            service.initialized.set(true);
            debug!("serving");
            Ok(())
        })
    }

    fn adopt_sandbox(&self, sandbox: Sandbox) -> LocalFuture<Result<(), Error>> {
        let service = self.clone();
        Box::pin(async move { service.adopt(sandbox).await })
    }

    fn forget_sandbox(&self, id: String) -> LocalFuture<Result<(), Error>> {
        let service = self.clone();
        Box::pin(async move {
            service.sandboxes.delete(&id).await;
            Ok(())
        })
    }

    fn create_container(
        &self,
        ctx: Context,
        sandbox_id: String,
        config: ContainerConfig,
    ) -> LocalFuture<Result<String, Error>> {
        let (sandbox, name) = (sandbox_id.clone(), config.name.clone());
        self.serve(
            Loudness::Info,
            move || {
                format!("CreateContainer within sandbox {} for {}", quote(&sandbox), quote(&name))
            },
            async move |service| {
                service.create(&service.call_context(&ctx, 0), &sandbox_id, config).await
            },
        )
    }

    fn start_container(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        let named = id.clone();
        self.serve(
            Loudness::Info,
            move || format!("StartContainer for {}", quote(&named)),
            async move |service| service.start(&service.call_context(&ctx, 0), &id).await,
        )
    }

    fn stop_container(
        &self,
        ctx: Context,
        id: String,
        timeout: i64,
    ) -> LocalFuture<Result<(), Error>> {
        let named = id.clone();
        self.serve_with(
            Loudness::Info,
            move || format!("StopContainer for {}", quote(&named)),
            move || format!(" with timeout {timeout} (s)"),
            async move |service| {
                service.stop(&service.call_context(&ctx, timeout), &id, timeout).await
            },
        )
    }

    fn remove_container(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        let named = id.clone();
        self.serve(
            Loudness::Info,
            move || format!("RemoveContainer for {}", quote(&named)),
            async move |service| service.remove(&service.call_context(&ctx, 0), &id).await,
        )
    }

    fn update_container_resources(
        &self,
        ctx: Context,
        id: String,
        resources: LinuxResources,
    ) -> LocalFuture<Result<(), Error>> {
        let (named, detail) = (id.clone(), resources.clone());
        self.serve_with(
            Loudness::Info,
            move || format!("UpdateContainerResources for {}", quote(&named)),
            move || format!(" with {detail:?}"),
            async move |service| service.update_resources(&ctx, &id, &resources).await,
        )
    }

    fn container_status(
        &self,
        ctx: Context,
        id: String,
        verbose: bool,
    ) -> LocalFuture<Result<ContainerStatus, Error>> {
        let named = id.clone();
        self.serve(
            Loudness::Trace,
            move || format!("ContainerStatus for {}", quote(&named)),
            async move |service| {
                planted!(service, ClientWaitsForDisk => { service.wait_for_writers().await; });
                service.status(&service.call_context(&ctx, 0), &id, verbose).await
            },
        )
    }

    fn reopen_container_log(&self, _ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        let named = id.clone();
        self.serve(
            Loudness::Info,
            move || format!("ReopenContainerLog for {}", quote(&named)),
            async move |service| service.reopen_log(&id).await,
        )
    }

    fn get_container_events(
        &self,
        ctx: Context,
        stream: Rc<dyn EventStream>,
    ) -> LocalFuture<Result<(), Error>> {
        self.serve(
            Loudness::Trace,
            || "GetContainerEvents".to_owned(),
            async move |service| service.stream_events(&ctx, &*stream).await,
        )
    }

    fn list_containers(
        &self,
        _ctx: Context,
        filter: ContainerFilter,
    ) -> LocalFuture<Result<Vec<ContainerSummary>, Error>> {
        let named = filter.clone();
        self.serve(
            Loudness::Trace,
            move || format!("ListContainers with filter {named:?}"),
            async move |service| {
                planted!(service, ClientWaitsForDisk => { service.wait_for_writers().await; });
                Ok(service.list(filter).await)
            },
        )
    }

    fn stop_pod_sandbox(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        let named = id.clone();
        self.serve(
            Loudness::Info,
            move || format!("StopPodSandbox for {}", quote(&named)),
            async move |service| service.stop_pod(&service.call_context(&ctx, 0), &id).await,
        )
    }

    fn remove_pod_sandbox(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        let named = id.clone();
        self.serve(
            Loudness::Info,
            move || format!("RemovePodSandbox for {}", quote(&named)),
            async move |service| service.remove_pod(&service.call_context(&ctx, 0), &id).await,
        )
    }

    fn connect_plugin(&self, name: String) -> LocalFuture<Result<(), Error>> {
        let service = self.clone();
        Box::pin(async move { service.nri_connect_plugin(&name).await })
    }

    fn update_from_plugin(&self, updates: Vec<NriUpdate>) -> LocalFuture<Result<(), Error>> {
        let service = self.clone();
        Box::pin(async move {
            // A plugin that connects while the daemon comes up is not registered yet.
            if !service.initialized.get() {
                return Err(Error::unknown("server is not initialized yet"));
            }
            service.nri_update_containers(&updates).await
        })
    }

    fn peek(&self, id: &str) -> Option<Peek> {
        // Until then a client is told nothing.
        if self.initialized.get() { self.peek_status(id) } else { None }
    }

    fn claims(&self, id: &str) -> Vec<&'static str> {
        self.peek_claims(id)
    }
}
