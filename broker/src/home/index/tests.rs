//! The index: who is the home of what, and for how long.

use super::*;
use std::net::Ipv4Addr;

fn address(port: u16) -> Address {
    Address { host: "localhost".to_owned(), port }
}

#[test]
fn a_topic_has_one_home() {
    let index = Index::new();
    register(&index, address(1)).unwrap();
    register(&index, address(2)).unwrap();
    index.add("a", address(1), None, None).unwrap();
    index.add("a", address(1), None, None).unwrap();
    assert!(matches!(index.add("a", address(2), None, None), Err(Refusal::TopicExists)));
    assert_eq!(index.home("a", None).unwrap(), address(1));
    assert!(index.remove("a", &address(2), None).is_err());
    index.remove("a", &address(1), None).unwrap();
    assert!(matches!(index.home("a", None), Err(Refusal::NotIndexed { is_away: false })));
    assert!(index.add("a", address(3), None, None).is_err(), "nobody has registered it");
}

#[test]
fn a_peer_that_is_away_keeps_its_topics() {
    let index = Arc::new(Index::new());
    register(&index, address(2)).unwrap();
    let presence = index.attend(address(1), None, 0, true).unwrap();
    index.add("a", address(1), None, Some(&presence.key)).unwrap();
    drop(presence);
    assert!(matches!(index.home("a", None), Err(Refusal::NotIndexed { is_away: true })));
    assert_eq!(index.peers(&Address::default(), 9), [address(2)]);
    assert!(matches!(index.add("a", address(2), None, None), Err(Refusal::TopicExists)));
    let _presence = index.attend(address(1), None, 0, true).unwrap();
    assert_eq!(index.home("a", None).unwrap(), address(1));
}

#[test]
fn a_peer_that_registers_again_has_the_topics_that_it_names() {
    let index = Arc::new(Index::new());
    register(&index, address(2)).unwrap();
    drop(index.attend(address(1), None, 0, true).unwrap());
    for topic in ["kept", "deleted meanwhile"] {
        index.add(topic, address(1), None, None).unwrap();
    }
    let presence = index.attend(address(1), None, 0, true).unwrap();
    let key = Some(presence.key.as_str());
    index.add("kept", address(1), None, key).unwrap();
    assert!(matches!(
        index.add("deleted meanwhile", address(2), None, None),
        Err(Refusal::TopicExists)
    ));
    index.told(&address(1), key).unwrap();
    assert_eq!(index.home("kept", None).unwrap(), address(1));
    index.add("deleted meanwhile", address(2), None, None).unwrap();
    index.told(&address(1), key).unwrap();
    assert_eq!(index.home("deleted meanwhile", None).unwrap(), address(2));
}

#[test]
fn an_address_can_be_connected_to() {
    for (host, text) in [("a", "a:1"), ("::1", "[::1]:1"), ("[::1]", "[::1]:1")] {
        assert_eq!(Address { host: host.to_owned(), port: 1 }.to_string(), text);
    }
}

#[test]
fn an_old_connection_that_ends_late_does_not_send_its_peer_away() {
    let index = Arc::new(Index::new());
    let old = index.attend(address(1), None, 0, true).unwrap();
    let _new = index.attend(address(1), Some(&old.key), 0, true).unwrap();
    drop(old);
    assert_eq!(index.peers(&Address::default(), 9), [address(1)]);
}

fn register(index: &Index, address: Address) -> Result<()> {
    index.register(address, Ipv4Addr::LOCALHOST.into())
}

/// What no connection stands behind takes no more than its share.
#[test]
fn clients_that_do_not_stay_register_so_many_peers_and_topics() {
    let index = Arc::new(Index::new());
    let all = |port: u16| Address { host: format!("h{port}"), port: 1 };
    let ports = u16::try_from(LASTING_PEERS_MAX).unwrap();
    for port in 0..ports {
        let client = Ipv4Addr::new(192, 0, 2, u8::from(usize::from(port) >= ADDRESS_PEERS_MAX));
        index.register(all(port), client.into()).unwrap();
        if usize::from(port) + 1 == ADDRESS_PEERS_MAX {
            let refusal = index.register(address(1), client.into()).unwrap_err().to_string();
            assert!(refusal.contains("2500") && refusal.contains("192.0.2.0"), "{refusal}");
            index.register(all(port), client.into()).unwrap();
        }
    }
    let other = || Ipv4Addr::new(192, 0, 2, 9).into();
    for number in 0..LASTING_PEERS_TOPICS_MAX {
        let home = all(u16::try_from(number % LASTING_PEERS_MAX).unwrap());
        index.add(&number.to_string(), home, None, None).unwrap();
    }
    let refusal = index.register(address(1), other()).unwrap_err().to_string();
    assert!(refusal.contains("5000"), "{refusal}");
    let refusal = index.add("more", all(1), None, None).unwrap_err().to_string();
    assert!(refusal.contains("50000"), "{refusal}");
    // Those who stay have the rest.
    let presence = index.attend(address(1), None, 0, true).unwrap();
    assert!(index.add("more", address(1), None, Some(&presence.key)).unwrap());
    index.unregister(&all(1), None).unwrap();
    index.register(address(2), other()).unwrap();
}

#[test]
fn peers_that_are_away_and_have_no_topics_make_way() {
    let index = Arc::new(Index::new());
    let ports = 1..=u16::try_from(PEERS_MAX).unwrap();
    let mut presences: Vec<_> =
        ports.map(|port| index.attend(address(port), None, 0, true).unwrap()).collect();
    for port in [1, 2] {
        let key = Some(presences[usize::from(port) - 1].key.as_str());
        index.add(&port.to_string(), address(port), None, key).unwrap();
    }
    let newcomer = address(u16::MAX);
    assert!(register(&index, newcomer.clone()).is_err(), "all of them are there");
    // Away, with a topic and without one.
    drop(presences.drain(1..=2));
    register(&index, newcomer.clone()).unwrap();
    index.add("3", newcomer, None, None).unwrap();
    assert!(register(&index, address(u16::MAX - 1)).is_err());
    assert!(matches!(index.home("2", None), Err(Refusal::NotIndexed { is_away: true })));
    assert!(index.unregister(&address(3), None).is_err(), "it was forgotten");
    assert!(index.unregister(&address(2), None).is_ok(), "it keeps its topic");
}

#[test]
fn an_unregistered_peer_leaves_its_topics_to_others() {
    let index = Index::new();
    register(&index, address(1)).unwrap();
    index.add("a", address(1), None, None).unwrap();
    index.unregister(&address(1), None).unwrap();
    assert!(index.unregister(&address(1), None).is_err());
    register(&index, address(2)).unwrap();
    index.add("a", address(2), None, None).unwrap();
}

#[test]
fn a_peer_that_is_there_is_spoken_for_by_itself() {
    let index = Arc::new(Index::new());
    let presence = index.attend(address(1), None, 0, true).unwrap();
    register(&index, address(2)).unwrap();
    let own = Some(presence.key.as_str());
    index.add("a", address(1), None, own).unwrap();
    index.told(&address(1), own).unwrap();
    for key in [None, Some("0123456789abcdef")] {
        let refused = [
            index.attend(address(1), key, 0, true).map(drop),
            index.unregister(&address(1), key),
            index.add("b", address(1), None, key).map(drop),
            index.told(&address(1), key),
            index.remove("a", &address(1), key),
        ];
        assert!(refused.iter().all(|it| it.as_ref().is_err_and(|it| it.status() == 403)));
    }
    register(&index, address(1)).unwrap();
    assert_eq!(index.home("a", None).unwrap(), address(1), "as before");
    // It has lost its connection and comes back before that is noticed.
    let again = index.attend(address(1), own, 0, true).unwrap();
    assert!(index.told(&address(1), own).is_err(), "the old key does not count any more");
    drop(presence);
    index.told(&address(1), Some(&again.key)).unwrap();
    assert!(index.home("a", None).is_err(), "it was not named");
}

#[test]
fn a_list_that_comes_back_at_another_address_keeps_its_topic() {
    let index = Arc::new(Index::new());
    let (stream, other) = (Some(StreamId::random()), Some(StreamId::random()));
    let before = index.attend(address(1), None, 0, true).unwrap();
    index.add("a", address(1), stream, Some(&before.key)).unwrap();
    register(&index, address(2)).unwrap();
    assert!(index.add("a", address(2), stream, None).is_err(), "its home is there");
    drop(before);
    assert!(index.add("a", address(2), other, None).is_err(), "another list");
    assert!(index.add("a", address(2), None, None).is_err());
    index.add("a", address(2), stream, None).unwrap();
    assert_eq!(index.home("a", None).unwrap(), address(2));
    // The old address comes back without it.
    let again = index.attend(address(1), None, 0, true).unwrap();
    index.told(&address(1), Some(&again.key)).unwrap();
    assert_eq!(index.home("a", None).unwrap(), address(2));
}

#[test]
fn a_topic_may_be_told_yet_while_peers_come_back() {
    let is_away = |index: &Index| match index.home("a", None) {
        Err(Refusal::NotIndexed { is_away }) => is_away,
        other => panic!("{other:?}"),
    };
    let index = Arc::new(Index::new());
    assert!(!is_away(&index), "nobody was there before");
    let presence = index.attend(address(1), None, 0, true).unwrap();
    assert!(is_away(&index), "it has not named its topics yet");
    index.told(&address(1), Some(&presence.key)).unwrap();
    assert!(!is_away(&index));
    let again = index.attend(address(2), Some("0123456789abcdef"), 3, true).unwrap();
    index.told(&address(2), Some(&again.key)).unwrap();
    assert!(is_away(&index), "a third peer was there as well");
    let third = index.attend(address(3), Some("0123456789abcdef"), 3, true).unwrap();
    index.told(&address(3), Some(&third.key)).unwrap();
    assert!(!is_away(&index));
}
