//! What errors of maps and lists say.

use crate::told;
use procession::shm::Kind;
use procession::{Bytes, Codec, CollectionError, Label, List, Map, Namespace, OpenError};
use procession_tests::isolate;

#[test]
fn maps_and_lists() {
    isolate();
    let list: List<u8> = List::create("scores").unwrap();
    list.extend(&[1, 2, 3]).unwrap();
    says!(
        CollectionError::OutOfRange { .. },
        list.set(7, &1),
        "element 7 was asked for of list \"scores\", which has 3"
    );
    let object = Label::new(Kind::MAP, "stock", &Namespace::new("billing").unwrap());
    let source = OpenError::NoSpace { object: object.clone(), bytes: 4096 };
    says!(
        CollectionError::NoMemory { object, source },
        "map \"stock\" in namespace \"billing\" cannot grow, and is as it was: /dev/shm has no space for 4096 bytes of map \"stock\" in \
         namespace \"billing\": remove something (`procession gc`, `df /dev/shm`), or mount it with a larger size"
    );
    let small = Map::<u8, Bytes>::options().bytes(1).create("small").unwrap();
    says!(
        CollectionError::Full { .. },
        small.insert(&1, &Bytes::from(vec![0; 70_000])),
        "map \"small\" is full: it may take 65536 bytes of memory. Create it with more .bytes()"
    );
    says!(
        CollectionError::TooManyEntries {
            object: Label::new(Kind::MAP, "stock", &Namespace::new("billing").unwrap()),
            most: 738_197_504
        },
        "map \"stock\" in namespace \"billing\" is full: a map has at most 738197504 entries. Put some of them into another one"
    );
    let raw = Map::<u8, Bytes>::options().codec(Codec::Bytes).create("raw").unwrap();
    says!(
        CollectionError::Encode(_),
        raw.get(&1),
        "the key, value or element cannot be encoded: codec Bytes cannot carry anything but bytes and text (Bytes, Vec<u8>, String)"
    );
    let words = Map::<u8, String>::options().codec(Codec::Json).create("words").unwrap();
    words.insert(&1, "one").unwrap();
    let numbers = Map::<u8, u8>::options().codec(Codec::Json).open("words").unwrap();
    says!(
        CollectionError::Decode { .. },
        numbers.get(&1),
        "5 bytes in map \"words\" are not of its type: they were stored as another type, under the same .type_tag or in a codec that \
         says no types, or by another build of the program (give the object of each build its own .type_tag): invalid type: string \"one\", expected u8 at line 1 column 5"
    );
    says!(
        CollectionError::Lock(_),
        words.update(&1, |_| words.clear()).unwrap(),
        "waiting for map \"words\" would never end: this thread holds it already"
    );
    for unlinked in [list.unlink(), small.unlink(), raw.unlink(), words.unlink()] {
        unlinked.unwrap();
    }
}
