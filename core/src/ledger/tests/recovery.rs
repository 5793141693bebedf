//! The recovery kit: its key is senior to all, is no member, and can be used by whoever has it on any device (P-9, G14).

use super::membership::{orders, picture, take_in_order};
use super::*;
use proptest::prelude::*;

const KIT: u8 = 90;

/// A founder whose folder has a kit, with members of these roles; and the kit, as a device that has seen what they have.
fn company_with_kit(roles: &[Role]) -> (Vec<Device>, Device) {
    let devices = company_of(Device::founder_with(Some(Device::new(KIT).peer())), roles);
    let kit = Device::beside(KIT, &devices[0]);
    (devices, kit)
}

fn role(book: &Book, device: &Device) -> Option<Role> {
    book.membership().role_of(&device.peer())
}

fn changed(device: &Device, role: Role) -> Event {
    Event::RoleChanged { peer: device.peer(), role }
}

/// G14: the only admin's device is lost; who is left becomes an admin by the kit, and removes the lost one.
#[test]
fn who_is_left_goes_on_without_the_founder() {
    let (devices, mut kit) = company_with_kit(&[Role::Reader]);
    let [mut founder, mut reader] = <[Device; 2]>::try_from(devices).unwrap();
    kit.say(changed(&reader, Role::Admin));
    kit.say(kit.removal_of(&founder));
    reader.book.take_all(&kit.book);
    assert_eq!((role(&reader.book, &reader), role(&reader.book, &founder)), (Some(Role::Admin), None));
    let late = Device::new(20);
    reader.admit(&late, Role::Writer);
    // What the lost device signs without knowing of it counts nowhere.
    founder.say(founder.removal_of(&reader));
    reader.book.take_all(&founder.book);
    founder.book.take_all(&reader.book);
    assert_eq!(picture(&reader.book), picture(&founder.book));
    assert_eq!(role(&founder.book, &late), Some(Role::Writer));
    assert_eq!(role(&founder.book, &founder), None);
}

#[test]
fn a_kit_is_no_member_and_nobody_acts_on_it() {
    let (mut devices, kit) = company_with_kit(&[Role::Admin]);
    let membership = devices[0].book.membership();
    assert_eq!(membership.recovery, Some(kit.peer()));
    assert_eq!(membership.role_of(&kit.peer()), None);
    assert_eq!(membership.members.len(), 2);
    for event in [added(&kit, Role::Reader), changed(&kit, Role::Reader), devices[0].removal_of(&kit)] {
        assert_eq!(devices[0].refusal(vec![event.clone()]), Reason::NotAllowed, "{event:?}");
    }
    // Nor by the kit itself, which is nobody's junior.
    assert_eq!(kit.refusal(vec![changed(&kit, Role::Reader)]), Reason::NotAllowed);
    let stranger = Device::beside(91, &devices[0]);
    assert_eq!(stranger.refusal(vec![changed(&devices[1], Role::Reader)]), Reason::NotAllowed);
    devices[0].say(added(&Device::new(20), Role::Writer));
    assert!(!devices[0].book.membership().is_epoch_over, "no secret is owed to the kit");
}

/// A folder without a kit gives that key no right, and whom a founder names is not itself.
#[test]
fn a_kit_belongs_to_its_folder() {
    let stray = Device::beside(KIT, &Device::founder());
    assert_eq!(stray.refusal(vec![added(&Device::new(20), Role::Writer)]), Reason::NotAllowed);
    let founder = Device::new(1);
    let event = Event::Founded {
        label: "f".into(),
        device: "d".into(),
        nonce: [9; 16],
        recovery: Some(founder.peer()),
    };
    let founding = EntryBuilder::founding(founder.chain, 5).sign(&founder.identity, vec![event]).unwrap();
    let book = Book { folder: Some(FolderId(founding.id().0)), ..Book::default() };
    assert!(matches!(check(&book, founding).unwrap(), Admission::Refused(Reason::BadFounding)));
}

/// Whoever holds the founder's key cannot take the kit's place: it stands in the entry that names the folder.
#[test]
fn a_founder_cannot_name_another_kit() {
    let (devices, _) = company_with_kit(&[]);
    let mut clone = devices[0].clone();
    clone.chain.incarnation = 77;
    for device in [&devices[0], &clone] {
        let event = Event::Founded {
            label: "f".into(),
            device: "d1".into(),
            nonce: [9; 16],
            recovery: Some(Device::new(91).peer()),
        };
        assert_eq!(device.refusal(vec![event]), Reason::BadFounding);
    }
}

/// Exhaustive: founder, two admins and the kit each do one thing, none knowing of the others, in every order.
#[test]
fn no_order_matters_beside_a_kit_and_its_word_stands() {
    let (mut actors, kit) = company_with_kit(&[Role::Admin, Role::Admin]);
    actors.push(kit);
    let (start, orders) = (actors[0].book.clone(), orders(4));
    let event = |by: usize, what: usize| {
        let target = &actors[(by + 1 + what % 3) % 4];
        match what / 3 {
            0 => actors[by].removal_of(target),
            1 => changed(target, Role::Reader),
            _ => added(&Device::new(20 + by as u8), Role::Admin),
        }
    };
    let choices: Vec<Vec<(usize, Verified)>> = (0..4)
        .map(|by| {
            let drafts = (0..7).map(|what| (what, actors[by].draft(vec![event(by, what)])));
            drafts
                .filter(|(_, e)| !matches!(check(&start, e.clone()).unwrap(), Admission::Refused(_)))
                .collect()
        })
        .collect();
    assert_eq!(choices[3].len(), 7, "the kit may do all of it");
    let mut worlds = 0;
    for n in 0..7 * 7 * 7 * 7usize {
        let picks = [n % 7, n / 7 % 7, n / 49 % 7, n / 343];
        let chosen: Option<Vec<&(usize, Verified)>> =
            picks.iter().zip(&choices).map(|(p, c)| c.get(*p)).collect();
        let Some(chosen) = chosen else { continue };
        worlds += 1;
        let mut books = orders.iter().map(|order| {
            let order: Vec<&Verified> = order.iter().map(|at| &chosen[*at].1).collect();
            picture(&take_in_order(&start, &order))
        });
        let first = books.next().unwrap();
        assert!(books.all(|other| other == first), "orders differ for {picks:?}");
        let what = chosen[3].0;
        let target = &actors[(3 + 1 + what % 3) % 4];
        match what / 3 {
            0 => assert_eq!(first.0.role_of(&target.peer()), None, "{picks:?}"),
            1 => assert_ne!(first.0.role_of(&target.peer()), Some(Role::Admin), "{picks:?}"),
            _ => assert_eq!(first.0.role_of(&Device::new(23).peer()), Some(Role::Admin), "{picks:?}"),
        }
    }
    assert!(worlds > 100, "{worlds}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// The kit is used on two devices that do not know of each other, while a company of admins acts: one picture.
    #[test]
    fn no_order_matters_with_a_kit_in_two_hands(
        acts in prop::collection::vec((0..6usize, 0..4usize, 0..5u8), 1..10),
        shuffles in prop::collection::vec(any::<u64>(), 3),
    ) {
        let (mut actors, kit) = company_with_kit(&[Role::Admin, Role::Writer, Role::Admin]);
        let mut other_hand = kit.clone();
        other_hand.chain.incarnation += 1;
        actors.extend([kit, other_hand]);
        let start = actors[0].book.clone();
        let mut signed = Vec::new();
        for (by, target, kind) in acts {
            let theirs = actors[target].clone();
            let event = match kind {
                0 | 1 => actors[by].removal_of(&theirs),
                2 => changed(&theirs, Role::Admin),
                3 => added(&theirs, Role::Writer),
                _ => {
                    actors[by].book.take_all(&theirs.book);
                    continue;
                }
            };
            let entry = actors[by].draft(vec![event]);
            if !matches!(actors[by].book.offer(&entry), Admission::Refused(_)) {
                signed.push(entry);
            }
        }
        let causal: Vec<&Verified> = signed.iter().collect();
        let first = picture(&take_in_order(&start, &causal));
        prop_assert_eq!(first.0.recovery, Some(Device::new(KIT).peer()));
        for seed in shuffles {
            let mut order = causal.clone();
            order.sort_by_key(|entry| (seed ^ u64::from(entry.id().0[0])).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            prop_assert_eq!(&picture(&take_in_order(&start, &order)), &first);
        }
    }
}
