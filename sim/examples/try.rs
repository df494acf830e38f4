use shakedown::run::{Options, Plan, run};
use shakedown::turnstile::RecordingEntry as E;
use std::rc::Rc;
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let sc = match shakedown::scenario::parse(&path, &text) {
        Ok(s) => s,
        Err(e) => {
            for d in e {
                println!("{}", d.render(&text, false));
            }
            return;
        }
    };
    let exp = shakedown::scenario::expand(&sc, &|_| vec![]).unwrap();
    let case = exp.case(0);
    let plan = Rc::new(Plan::new(&case).unwrap());
    let mut options = Options::default();
    options.logs = true;
    let out = run(&plan, &options);
    for e in &out.recording.entries {
        match e {
            E::Moment(h) => {
                println!("{:>14} {} {}", h.at, h.moment, h.error.as_deref().unwrap_or(""))
            }
            E::Fault { at, site, fault } => println!("{at:>14} FAULT {site}: {fault}"),
            E::Held { at, moment } => println!("{at:>14} HELD {moment}"),
            E::LetGo { at, moment, why } => println!("{at:>14} LETGO {moment} {why}"),
            E::Phase { at, name } => println!("{at:>14} == {name}"),
            E::Log { at, text } => println!("{at:>14}    log {text}"),
        }
    }
    println!("answers {:#?}", out.answers);
    println!("quiet {:#?}\nreaped {:#?}\nreaping {:?}", out.quiet, out.reaped, out.reaping);
    for f in &out.judgement.findings {
        println!("{} {} {} {:?}", f.id, f.name, f.evaluated, f.violations);
    }
    println!(
        "fates {:?} {:?} stop {:?} quiet {} waiting {:?}",
        out.faults, out.holds, out.stop, out.was_quiet, out.waiting
    );
    println!("moments {} digest {:032x} logs {:?}", out.recording.moments, out.digest, out.logs);
    if std::env::args().nth(2).is_some() {
        let options = Options { menus: options.menus.clone(), ..Options::default() };
        let n = 2000;
        let t = std::time::Instant::now();
        for _ in 0..n {
            let o = run(&plan, &options);
            assert_eq!(o.digest, out.digest);
        }
        println!("{:?} per run", t.elapsed() / n);
    }
}
