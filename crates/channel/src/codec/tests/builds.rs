//! Two builds of one program, whose types differ.

use super::encoded;
use crate::codec::{DecodeError, decode};

#[test]
fn swapped_renamed_and_missing_fields_are_noticed() {
    mod old {
        #[derive(serde::Serialize)]
        pub(super) struct Job {
            pub(super) id: u64,
            pub(super) priority: u64,
        }
    }
    mod new {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "they are never read")]
        pub(super) struct Job {
            priority: u64,
            id: u64,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename = "Job")]
        #[expect(dead_code, reason = "they are never read")]
        pub(super) struct Renamed {
            number: u64,
            priority: u64,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename = "Job")]
        #[expect(dead_code, reason = "they are never read")]
        pub(super) struct Shorter {
            id: u64,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename = "Job")]
        pub(super) struct Longer {
            pub(super) id: u64,
            pub(super) priority: u64,
            #[serde(default)]
            pub(super) path: String,
        }
    }
    let bytes = encoded(&old::Job { id: 7, priority: 17 });
    let told = decode::<new::Job>(&bytes).unwrap_err().to_string();
    assert!(told.starts_with("struct Job was written with 2 fields and is read with 2"), "{told}");
    assert!(matches!(decode::<new::Renamed>(&bytes), Err(DecodeError::OtherFields { .. })));
    assert!(matches!(decode::<new::Shorter>(&bytes), Err(DecodeError::OtherFields { .. })));
    let longer: new::Longer = decode(&bytes).unwrap();
    assert_eq!((longer.id, longer.priority, longer.path.as_str()), (7, 17, ""));
}

#[test]
fn variants_in_another_order_are_noticed() {
    mod old {
        #[derive(serde::Serialize)]
        pub(super) enum Order {
            Start,
            Stop,
        }
    }
    mod new {
        #[derive(Debug, serde::Deserialize)]
        pub(super) enum Order {
            Stop,
            Start,
        }
    }
    for order in [old::Order::Start, old::Order::Stop] {
        let told = decode::<new::Order>(&encoded(&order));
        assert!(matches!(told, Err(DecodeError::OtherVariants { name: "Order", .. })), "{told:?}");
    }
}
