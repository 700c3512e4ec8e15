//! Other directors' files of any content, among them rules that set marks: what is printed is always
//! read by Weir.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_import::{Kind, NoFiles, Options, import};

fuzz_target!(|data: &[u8]| {
    let Some((kind, text)) = data.split_first() else {
        return;
    };
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    let options = Options {
        config_id: Some("main"),
        files: &NoFiles,
    };
    let imported = import(kind, "file", &String::from_utf8_lossy(text), options);
    if let Err(faults) = weir_model::parse(imported.completed(), "") {
        panic!("{faults}");
    }
});
