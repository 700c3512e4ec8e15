use alloc::collections::BTreeMap;
use std::format;
use std::sync::Arc;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::time::seconds;

const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211];
const NOW: Tick = Tick(u32::MAX - 500);
/// Twice the length of a round.
const T: u32 = seconds(120);

fn key(client: u32) -> TemplateKey<'static> {
    TemplateKey {
        client: Addr::from_v4_bytes(client.to_be_bytes()),
        virt: Addr::from_v4_bytes([192, 0, 2, 100]),
        port: 80,
        protocol: 6,
        name: None,
    }
}

fn whichever(_: ServerId) -> bool {
    true
}

fn create(all: &Templates, now: Tick, key: &TemplateKey<'_>, server: u32) -> Attached {
    let made = all.create(now, key, T, (ServerId(server), 8080), whichever);
    made.expect("there is room")
}

fn attach(all: &Templates, now: Tick, key: &TemplateKey<'_>) -> Option<Attached> {
    all.attach(now, key, whichever)
        .expect("nobody else is there")
}

fn views(all: &Templates, now: Tick) -> Vec<(TemplateView, Vec<u8>)> {
    let mut views = Vec::new();
    for at in 0..all.buckets() {
        all.visit(now, at, |view, name| views.push((*view, name.to_vec())));
    }
    views
}

fn only_view(all: &Templates, now: Tick) -> TemplateView {
    let views = views(all, now);
    assert_eq!(views.len(), 1, "{views:?}");
    views[0].0
}

fn how(is_forced: bool) -> End {
    if is_forced { End::Forced } else { End::InTime }
}

fn sweep(all: &Templates, now: Tick, gone: impl Fn(ServerId) -> bool) {
    let gone = |server, _| gone(server);
    (0..all.buckets()).for_each(|at| all.sweep(now, at, gone));
}

#[test]
fn a_client_finds_its_template_and_no_other_key_does() {
    let all = Templates::new(100, 4, SEED);
    assert_eq!(attach(&all, NOW, &key(7)), None);
    let made = create(&all, NOW, &key(7), 3);
    assert_eq!(attach(&all, NOW, &key(7)), Some(made));
    let others = [
        key(8),
        TemplateKey { port: 81, ..key(7) },
        TemplateKey {
            protocol: 17,
            ..key(7)
        },
        TemplateKey {
            virt: key(9).client,
            ..key(7)
        },
        TemplateKey {
            name: Some(b"a"),
            ..key(7)
        },
    ];
    for other in &others {
        assert_eq!(attach(&all, NOW, other), None, "{other:?}");
        assert_eq!(all.peek(NOW, other), None, "{other:?}");
    }
    assert_eq!(all.peek(NOW, &key(7)), Some(ServerId(3)));
    let view = only_view(&all, NOW);
    assert_eq!((view.client, view.virt), (key(7).client, key(7).virt));
    assert_eq!((view.port, view.dest_port, view.protocol), (80, 8080, 6));
    assert_eq!((view.server, view.children), (ServerId(3), 2));
    assert_eq!((view.state(), view.ticks_left), ("NONE", T));
    all.assure(made.id);
    assert_eq!(only_view(&all, NOW).state(), "ASSURED");
    assert_eq!((all.len(), all.of_server(ServerId(3))), (1, 1));
}

#[test]
fn without_children_its_life_ends_after_its_time() {
    let all = Templates::new(100, 4, SEED);
    let made = create(&all, NOW, &key(7), 3);
    all.release(NOW, made.id, End::InTime);
    let later = NOW.after(seconds(100));
    let again = attach(&all, later, &key(7)).expect("it lives");
    all.release(later, again.id, End::InTime);
    let last = later.after(T - 1);
    assert_eq!(only_view(&all, last).ticks_left, 1);
    assert_eq!(all.peek(later.after(T), &key(7)), None);
    assert_eq!(views(&all, later.after(T)), []);
    assert_eq!(attach(&all, later.after(T), &key(7)), None);
    assert_eq!((all.len(), all.of_server(ServerId(3))), (0, 0));
}

#[test]
fn with_children_it_lives_on_a_minute_at_a_time_and_for_good() {
    let all = Templates::new(100, 4, SEED);
    let made = create(&all, NOW, &key(7), 3);
    let fired = NOW.after(T);
    assert_eq!(only_view(&all, fired).ticks_left, seconds(60));
    assert_eq!(
        only_view(&all, fired.after(seconds(61))).ticks_left,
        seconds(59)
    );
    // Attached to again, its time is a minute and no longer the service's.
    let again = attach(&all, fired.after(seconds(90)), &key(7)).expect("it lives");
    assert_eq!(
        only_view(&all, fired.after(seconds(90))).ticks_left,
        seconds(60)
    );
    for id in [made.id, again.id] {
        all.release(fired.after(seconds(140)), id, End::InTime);
    }
    assert_eq!(
        only_view(&all, fired.after(seconds(149))).ticks_left,
        seconds(1)
    );
    assert_eq!(views(&all, fired.after(seconds(150))), []);
}

#[test]
fn a_child_that_ends_after_the_time_was_up_prolonged_it() {
    let all = Templates::new(100, 4, SEED);
    let made = create(&all, NOW, &key(7), 3);
    let late = NOW.after(T + seconds(10));
    all.release(late, made.id, End::InTime);
    assert_eq!(only_view(&all, late).ticks_left, seconds(50));
}

#[test]
fn one_whose_server_may_not_be_used_leads_nowhere_and_stays_listed() {
    let all = Templates::new(100, 4, SEED);
    let made = create(&all, NOW, &key(7), 3);
    let not_3 = |server| server != ServerId(3);
    assert_eq!(all.attach(NOW, &key(7), not_3), Ok(None));
    assert_eq!(all.peek(NOW, &key(7)), None);
    let view = only_view(&all, NOW.after(seconds(5)));
    assert_eq!(
        (view.port, view.dest_port, view.is_valid),
        (65535, 65535, false)
    );
    assert_eq!((view.ticks_left, view.children), (T - seconds(5), 1));
    // The client gets another.
    let other = create(&all, NOW, &key(7), 2);
    assert_eq!(attach(&all, NOW, &key(7)), Some(other));
    assert_eq!([2, 3].map(|server| all.of_server(ServerId(server))), [1, 1]);
    all.release(NOW, made.id, End::InTime);
    sweep(&all, NOW.after(T), |_| false);
    assert_eq!([2, 3].map(|server| all.of_server(ServerId(server))), [1, 0]);
}

#[test]
fn the_last_child_that_ends_by_force_takes_an_unanswered_template_with_it() {
    for (is_assured, is_forced, left) in [
        (false, true, 0),
        (true, true, 1),
        (false, false, 1),
        (true, false, 1),
    ] {
        let all = Templates::new(100, 4, SEED);
        let made = create(&all, NOW, &key(7), 3);
        attach(&all, NOW, &key(7));
        if is_assured {
            all.assure(made.id);
        }
        all.release(NOW, made.id, how(is_forced));
        assert_eq!(all.len(), 1, "there is another child");
        all.release(NOW, made.id, how(is_forced));
        assert_eq!(all.len(), left, "{is_assured} {is_forced}");
    }
}

#[test]
fn the_last_child_that_loses_its_server_takes_its_template_with_it() {
    for is_assured in [false, true] {
        let all = Templates::new(100, 4, SEED);
        let made = create(&all, NOW, &key(7), 3);
        attach(&all, NOW, &key(7));
        if is_assured {
            all.assure(made.id);
        }
        all.release(NOW, made.id, End::Homeless);
        assert_eq!(all.len(), 1, "there is another child");
        all.release(NOW, made.id, End::Homeless);
        assert_eq!(all.len(), 0, "{is_assured}");
    }
}

/// As if it had been told at once: a template whose time came while the child lived goes on for a
/// minute, one whose time came after that does not.
#[test]
fn a_child_that_is_found_to_have_ended_some_time_ago_counts_until_then() {
    for (ended, ends) in [(T - 1, T), (T + 1, T + seconds(60))] {
        let all = Templates::new(100, 4, SEED);
        let made = create(&all, NOW, &key(7), 3);
        all.release(NOW.after(ended), made.id, End::InTime);
        let is_there = |at| all.peek(NOW.after(at), &key(7)).is_some();
        assert!(is_there(ends - 1) && !is_there(ends), "{ended}");
    }
}

#[test]
fn the_sweep_frees_what_is_over_and_what_leads_to_a_server_that_is_gone() {
    let all = Templates::new(100, 4, SEED);
    let over = create(&all, NOW, &key(1), 1);
    all.release(NOW, over.id, End::InTime);
    let gone = create(&all, NOW.after(1), &key(2), 2);
    all.release(NOW, gone.id, End::InTime);
    create(&all, NOW, &key(3), 2);
    let later = NOW.after(T);
    sweep(&all, later, |_| false);
    assert_eq!(all.len(), 2);
    sweep(&all, later, |server| server == ServerId(2));
    assert_eq!(all.len(), 1, "a child holds the other");
    assert_eq!(all.peek(later, &key(3)), Some(ServerId(2)));
}

#[test]
fn there_are_as_many_as_promised_and_no_more() {
    for most in [1, 2, 7, 100, 5000] {
        let all = Templates::new(most, 4, SEED);
        for client in 0..most as u32 {
            create(&all, NOW, &key(client), client % 4);
        }
        let more = all.create(NOW, &key(1 << 20), T, (ServerId(0), 0), whichever);
        assert_eq!(more, Err(Refusal::Full));
        assert_eq!(all.len(), most as u64);
        let known = (0..most as u32).filter(|c| all.peek(NOW, &key(*c)) == Some(ServerId(c % 4)));
        assert_eq!(known.count(), most);
        for (view, _) in views(&all, NOW) {
            let id = attach(&all, NOW, &key(view.client.v4_bits()))
                .expect("it is there")
                .id;
            all.release(NOW, id, End::Forced);
            all.release(NOW, id, End::Forced);
        }
        assert!(all.is_empty());
        assert!((0..4).all(|server| all.of_server(ServerId(server)) == 0));
    }
}

#[test]
fn of_none_there_is_none() {
    let all = Templates::new(0, 4, SEED);
    assert_eq!(attach(&all, NOW, &key(1)), None);
    assert_eq!(all.peek(NOW, &key(1)), None);
    let made = all.create(NOW, &key(1), T, (ServerId(0), 0), whichever);
    assert_eq!(made, Err(Refusal::Full));
    all.release(NOW, TemplateId(0), End::Forced);
    all.assure(TemplateId(0));
}

#[test]
fn names_of_every_length_are_kept_and_told() {
    let all = Templates::new(4000, 4, SEED);
    let text: Vec<u8> = (0..=NAME_MAX).map(|n| b'a' + (n % 26) as u8).collect();
    for len in 1..=NAME_MAX {
        let named = TemplateKey {
            name: Some(&text[..len]),
            ..key(7)
        };
        create(&all, NOW, &named, (len % 4) as u32);
    }
    for len in 1..=NAME_MAX {
        let named = TemplateKey {
            name: Some(&text[..len]),
            ..key(7)
        };
        assert_eq!(all.peek(NOW, &named), Some(ServerId((len % 4) as u32)));
    }
    let mut told: Vec<_> = views(&all, NOW).into_iter().map(|(_, name)| name).collect();
    told.sort_by_key(Vec::len);
    let kept: Vec<_> = (1..=NAME_MAX).map(|len| text[..len].to_vec()).collect();
    assert_eq!(told, kept);
    let long = [b'a'; NAME_MAX + 1];
    let long = TemplateKey {
        name: Some(&long),
        ..key(7)
    };
    let made = all.create(NOW, &long, T, (ServerId(0), 0), whichever);
    assert_eq!(made, Err(Refusal::Full));
}

#[test]
fn masks_keep_what_they_say() {
    let client: Addr = Addr::from_v4_bytes([198, 51, 100, 77]);
    let kept = |mask: u128| Addr(client.0 & mask).v4_bytes();
    assert_eq!(kept(mask_of_v4(0xffff_ff00)), [198, 51, 100, 0]);
    assert_eq!(kept(mask_of_v4(0x00ff_00ff)), [0, 51, 0, 77]);
    assert_eq!(kept(mask_of_v4(!0)), [198, 51, 100, 77]);
    for len in 0..=32 {
        let wide = (u64::from(u32::MAX) << (32 - len)) as u32;
        assert_eq!(mask_of_len(Family::V4, len), mask_of_v4(wide));
    }
    assert_eq!(mask_of_len(Family::V6, 0), 0);
    assert_eq!(mask_of_len(Family::V6, 1), 1 << 127);
    assert_eq!(mask_of_len(Family::V6, 64), !0 << 64);
    assert_eq!(mask_of_len(Family::V6, 128), !0);
}

/// Threads that meet at the same clients agree on the server of each, and what they count is right.
#[test]
fn many_threads_agree_on_a_clients_server() {
    const CLIENTS: u32 = 40;
    for round in 0..20 {
        let all = Arc::new(Templates::new(200, 8, [round, 3]));
        let start = Arc::new(std::sync::Barrier::new(4));
        let threads: Vec<_> = (0..4u32)
            .map(|thread| {
                let (all, start) = (Arc::clone(&all), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    let begin = |client| {
                        loop {
                            let made = match all.attach(NOW, &key(client), whichever) {
                                Ok(Some(found)) => Ok(found),
                                Ok(None) => {
                                    let to = (ServerId(thread), 0);
                                    all.create(NOW, &key(client), T, to, whichever)
                                }
                                Err(refusal) => Err(refusal),
                            };
                            match made {
                                Ok(made) => return made,
                                // Another thread lost its processor at a bad moment.
                                Err(refusal) => assert_eq!(refusal, Refusal::Contended),
                            }
                        }
                    };
                    (0..CLIENTS).map(begin).collect::<Vec<_>>()
                })
            })
            .collect();
        let results: Vec<_> = threads
            .into_iter()
            .map(|t| t.join().expect("no panic"))
            .collect();
        let mut children = BTreeMap::new();
        for (client, first) in (0..CLIENTS).zip(&results[0]) {
            for other in &results {
                assert_eq!(other[client as usize], *first, "client {client}");
            }
            children.insert(client, *first);
        }
        assert_eq!(all.len(), u64::from(CLIENTS));
        let of_servers = (0..4).map(|server| all.of_server(ServerId(server)));
        assert_eq!(of_servers.sum::<u64>(), u64::from(CLIENTS));
        for (view, _) in views(&all, NOW) {
            assert_eq!(view.children, 4);
            assert_eq!(children[&view.client.v4_bits()].server, view.server);
        }
    }
}

/// A template as the kernel's timer treats it, looked at in every tick.
#[derive(Clone, Debug)]
struct Model {
    server: u32,
    expires: u32,
    lifetime: u32,
    children: Vec<TemplateId>,
    is_assured: bool,
    is_valid: bool,
}

#[derive(Clone, Debug)]
enum Step {
    /// A flow of this client begins; the scheduler would give this server.
    Begin(u32, u32),
    /// The oldest flow of this client ends, by force or not.
    End(u32, bool),
    Answer(u32),
    Pass(u32),
    /// From now on this server may or may not be used.
    Toggle(u32),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6u32, 0..4u32).prop_map(|(client, server)| Step::Begin(client, server)),
        3 => (0..6u32, any::<bool>()).prop_map(|(client, force)| Step::End(client, force)),
        1 => (0..6u32).prop_map(Step::Answer),
        3 => prop_oneof![0..5u32, 0..400u32, 5_000..13_000u32].prop_map(Step::Pass),
        1 => (0..4u32).prop_map(Step::Toggle),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    #[test]
    fn templates_live_as_long_as_the_kernels(
        steps in prop::collection::vec(step(), 1..120),
        seed in any::<[u64; 2]>(),
    ) {
        const SHORT: u32 = 300;
        let all = Templates::new(64, 4, seed);
        let mut models: Vec<(u32, Model)> = Vec::new();
        let (mut now, mut usable) = (0u32, [true; 4]);
        let at = |now: u32| NOW.after(now);
        for step in steps {
            match step {
                Step::Begin(client, wanted) => {
                    let can = |s: ServerId| usable[s.0 as usize];
                    let known = models.iter_mut().find(|(c, m)| *c == client && m.is_valid);
                    let mut known = known.map(|(_, model)| model);
                    if let Some(model) = known.as_mut().filter(|m| !usable[m.server as usize]) {
                        model.is_valid = false;
                        known = None;
                    }
                    let found = all.attach(at(now), &key(client), can);
                    let found = found.expect("nobody else is there");
                    match (known, found) {
                        (Some(model), Some(found)) => {
                            prop_assert_eq!(found.server, ServerId(model.server));
                            model.children.push(found.id);
                            model.expires = now + model.lifetime;
                        }
                        (None, None) => {
                            let to = (ServerId(wanted), 0);
                            let made = all.create(at(now), &key(client), SHORT, to, whichever);
                            let made = made.expect("there is room");
                            prop_assert_eq!(made.server, ServerId(wanted));
                            models.push((client, Model {
                                server: wanted,
                                expires: now + SHORT,
                                lifetime: SHORT,
                                children: [made.id].into(),
                                is_assured: false,
                                is_valid: true,
                            }));
                        }
                        (known, found) => prop_assert!(false, "{known:?} {found:?}"),
                    }
                }
                Step::End(client, is_forced) => {
                    let of = |(c, m): &&mut (u32, Model)| *c == client && !m.children.is_empty();
                    if let Some((_, model)) = models.iter_mut().find(of) {
                        all.release(at(now), model.children.remove(0), how(is_forced));
                        let ends = is_forced && model.children.is_empty() && !model.is_assured;
                        if ends {
                            model.expires = now;
                        }
                    }
                }
                Step::Answer(client) => {
                    let of = |(c, m): &&mut (u32, Model)| *c == client && !m.children.is_empty();
                    if let Some((_, model)) = models.iter_mut().find(of) {
                        model.is_assured = true;
                        all.assure(model.children[0]);
                    }
                }
                Step::Pass(ticks) => now += ticks,
                Step::Toggle(server) => usable[server as usize] ^= true,
                Step::Sweep => sweep(&all, at(now), |_| false),
            }
            for (_, model) in &mut models {
                while model.expires <= now && !model.children.is_empty() {
                    model.expires += seconds(60);
                    model.lifetime = seconds(60);
                }
            }
            models.retain(|(_, model)| model.expires > now);
            let mut should: Vec<_> = models.iter().map(|(client, m)| {
                (*client, m.server, m.children.len() as u32, m.is_assured, m.is_valid, m.expires - now)
            }).collect();
            let mut is: Vec<_> = views(&all, at(now)).iter().map(|(v, _)| {
                (v.client.v4_bits(), v.server.0, v.children, v.is_assured, v.is_valid, v.ticks_left)
            }).collect();
            should.sort_unstable();
            is.sort_unstable();
            prop_assert_eq!(is, should);
        }
        sweep(&all, at(now), |_| false);
        prop_assert_eq!(all.len(), models.len() as u64);
        for server in 0..4 {
            let led = models.iter().filter(|(_, m)| m.server == server).count();
            prop_assert_eq!(all.of_server(ServerId(server)), led as u64, "{}", format!("{server}"));
        }
    }
}
