//! Attributes by tables. A table lists number, name and type of each attribute of a nest, in the
//! order in which the kernel writes them, and is all that reads and writes them.

use std::marker::PhantomData;

use crate::errno::Errno;
use crate::netlink::NESTED;

/// What the kernel demands of an attribute's payload (`lib/nlattr.c` tells in which words): a longer
/// one than needed is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At least so many bytes: a number, or an address of one family.
    AtLeast(usize),
    /// At most so many bytes.
    AtMost(usize),
    /// Text of at most so many bytes, with a NUL behind it.
    Text(usize),
    /// Attributes.
    Nest,
}

/// A line of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its number.
    pub number: u16,
    /// Its name.
    pub name: &'static str,
    /// What its payload has to be.
    pub kind: Kind,
}

impl Kind {
    pub(crate) fn check(self, payload: &[u8]) -> Result<(), Errno> {
        let is_good = match self {
            Self::AtLeast(length) => payload.len() >= length,
            Self::AtMost(length) => payload.len() <= length,
            Self::Nest => payload.is_empty() || payload.len() >= 4,
            Self::Text(length) => {
                if !payload.iter().take(length + 1).any(|byte| *byte == 0) {
                    return Err(Errno::Einval);
                }
                payload.strip_suffix(&[0]).unwrap_or(payload).len() <= length
            }
        };
        if is_good { Ok(()) } else { Err(Errno::Erange) }
    }
}

/// What an attribute's payload means.
pub(crate) trait Value: Sized {
    /// What [`Value::read`] may rely on.
    const KIND: Kind;
    /// Added to the attribute's number when a client writes it.
    const FLAGS: u16 = 0;

    fn read(payload: &[u8]) -> Self;
    fn write(&self, into: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($number:ident)*) => {$(
        impl Value for $number {
            const KIND: Kind = Kind::AtLeast(size_of::<$number>());

            fn read(payload: &[u8]) -> Self {
                Self::from_ne_bytes(array(payload))
            }

            fn write(&self, into: &mut Vec<u8>) {
                into.extend(self.to_ne_bytes());
            }
        }
    )*};
}
numbers!(u8 u16 u32 u64);

/// A port, in the network's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Be16(pub u16);

impl Value for Be16 {
    const KIND: Kind = Kind::AtLeast(2);

    fn read(payload: &[u8]) -> Self {
        Self(u16::from_be_bytes(array(payload)))
    }

    fn write(&self, into: &mut Vec<u8>) {
        into.extend(self.0.to_be_bytes());
    }
}

/// Bytes of which there may be fewer; those are zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpTo<const LENGTH: usize>(pub [u8; LENGTH]);

impl<const LENGTH: usize> Value for UpTo<LENGTH> {
    const KIND: Kind = Kind::AtMost(LENGTH);

    fn read(payload: &[u8]) -> Self {
        Self(array(payload))
    }

    fn write(&self, into: &mut Vec<u8>) {
        into.extend(self.0);
    }
}

/// Bytes of which there may be more; those are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes<const LENGTH: usize>(pub [u8; LENGTH]);

impl<const LENGTH: usize> Value for Bytes<LENGTH> {
    const KIND: Kind = Kind::AtLeast(LENGTH);

    fn read(payload: &[u8]) -> Self {
        Self(array(payload))
    }

    fn write(&self, into: &mut Vec<u8>) {
        into.extend(self.0);
    }
}

/// A name of at most so many bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name<const LENGTH: usize>(pub String);

impl<const LENGTH: usize> Value for Name<LENGTH> {
    const KIND: Kind = Kind::Text(LENGTH);

    fn read(payload: &[u8]) -> Self {
        let end = payload.iter().position(|byte| *byte == 0);
        let text = &payload[..end.unwrap_or(payload.len())];
        Self(String::from_utf8_lossy(text).into_owned())
    }

    fn write(&self, into: &mut Vec<u8>) {
        // What a client was given may be longer, or have a NUL in it; the kernel then says so.
        into.extend(self.0.as_bytes());
        into.push(0);
    }
}

/// A nest of attributes that nobody has looked into yet, as the kernel leaves it until it needs it. Of
/// some the kernel does not even check that they could be nests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nest<T, const IS_CHECKED: bool = true>(Vec<u8>, PhantomData<T>);

impl<T, const IS_CHECKED: bool> Value for Nest<T, IS_CHECKED> {
    const KIND: Kind = match IS_CHECKED {
        true => Kind::Nest,
        false => Kind::AtLeast(0),
    };
    const FLAGS: u16 = NESTED;

    fn read(payload: &[u8]) -> Self {
        Self(payload.to_vec(), PhantomData)
    }

    fn write(&self, into: &mut Vec<u8>) {
        into.extend(&self.0);
    }
}

/// Attributes that a table lists.
pub trait Table: Sized {
    /// The table.
    const TABLE: &[Attribute];

    /// Reads attributes. Unknown ones are passed over; of one that comes twice the last counts.
    ///
    /// # Errors
    /// That of the first attribute whose payload is not what the table demands.
    fn parse(bytes: &[u8]) -> Result<Self, Errno>;

    /// Appends those that are there, in the order of the table; nests with `NLA_F_NESTED` when
    /// `is_client`, without it as the kernel's IPVS does it.
    fn write(&self, into: &mut Vec<u8>, is_client: bool);
}

impl<T: Table, const IS_CHECKED: bool> Nest<T, IS_CHECKED> {
    /// Looks into it.
    ///
    /// # Errors
    /// `EINVAL`, whatever is wrong in it.
    pub fn parse(&self) -> Result<T, Errno> {
        T::parse(&self.0).map_err(|_| Errno::Einval)
    }

    /// A nest of these attributes.
    #[must_use]
    pub fn of(attributes: &T) -> Self {
        let mut bytes = Vec::new();
        attributes.write(&mut bytes, false);
        Self(bytes, PhantomData)
    }
}

macro_rules! attributes {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$doc:meta])* $number:literal $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: Option<$type>,)*
        }

        impl $crate::attribute::Table for $name {
            const TABLE: &[$crate::attribute::Attribute] = &[
                $($crate::attribute::Attribute {
                    number: $number,
                    name: stringify!($field),
                    kind: <$type as $crate::attribute::Value>::KIND,
                },)*
            ];

            fn parse(bytes: &[u8]) -> Result<Self, $crate::errno::Errno> {
                use $crate::attribute::Value;
                let mut all = Self::default();
                for (number, payload) in $crate::netlink::attributes(bytes) {
                    match number {
                        $($number => {
                            <$type>::KIND.check(payload)?;
                            all.$field = Some(<$type>::read(payload));
                        })*
                        _ => {}
                    }
                }
                Ok(all)
            }

            fn write(&self, into: &mut Vec<u8>, is_client: bool) {
                use $crate::attribute::Value;
                $(if let Some(value) = &self.$field {
                    let flags = if is_client { <$type>::FLAGS } else { 0 };
                    $crate::netlink::put(into, $number | flags, |into| value.write(into));
                })*
            }
        }
    };
}
pub(crate) use attributes;

/// The first bytes, and zeros where there are fewer.
fn array<const LENGTH: usize>(bytes: &[u8]) -> [u8; LENGTH] {
    let mut array = [0; LENGTH];
    let length = LENGTH.min(bytes.len());
    array[..length].copy_from_slice(&bytes[..length]);
    array
}
