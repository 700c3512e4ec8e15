//! The errors that the kernel's IPVS answers, by their names in errno(3).

use std::fmt;

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum Errno {
            $($(#[$doc])* $name = $number,)*
        }

        impl Errno {
            const ALL: &[(Self, &str)] = &[$((Self::$name, stringify!($name)),)*];
        }
    };
}

errnos! {
    /// Permission is missing.
    Eperm = 1;
    /// There is no such server, scheduler or engine.
    Enoent = 2;
    /// There is no such service or synchronisation daemon.
    Esrch = 3;
    /// Try again: who should answer is not there.
    Eagain = 11;
    /// There is no room.
    Enomem = 12;
    /// A dump is under way.
    Ebusy = 16;
    /// It is there already.
    Eexist = 17;
    /// There is no such interface.
    Enodev = 19;
    /// The message or a value in it is not valid.
    Einval = 22;
    /// A number is out of its range, or an attribute of the wrong length.
    Erange = 34;
    /// The message is too long.
    Emsgsize = 90;
    /// No such protocol.
    Eprotonosupport = 93;
    /// No such command, or it does not do that.
    Eopnotsupp = 95;
    /// Neither IPv4 nor IPv6.
    Eafnosupport = 97;
}

impl Errno {
    /// The number, positive.
    #[must_use]
    pub fn number(self) -> i32 {
        self as i32
    }

    /// The error with this number, positive.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        let known = Self::ALL.iter().map(|(errno, _)| *errno);
        known.into_iter().find(|errno| errno.number() == number)
    }
}

impl fmt::Display for Errno {
    /// `EINVAL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(errno, _)| errno == self);
        f.pad(&name.map_or("", |(_, name)| name).to_uppercase())
    }
}

impl std::error::Error for Errno {}
