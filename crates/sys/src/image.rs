//! The program's own file as it lies in memory: where its code is, and what tells it from every other build.
#![expect(unsafe_code, reason = "dl_iterate_phdr hands out raw pointers to the loaded program headers")]

use crate::latest::Latest;
use std::io::Result;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

const EXECUTABLE: &str = "/proc/self/exe";

/// The main executable of this process.
#[derive(Debug)]
pub struct Image {
    base: usize,
    text: Vec<Range<usize>>,
    has_interpreter: bool,
    build_id: Option<Vec<u8>>,
}

impl Image {
    /// The image of this process; it never changes while the process runs.
    #[must_use]
    pub fn current() -> &'static Self {
        static IMAGE: Latest<Image> = Latest::none();
        IMAGE.get_or_set(Self::find)
    }

    fn find() -> Self {
        let mut image = Self { base: 0, text: Vec::new(), has_interpreter: false, build_id: None };
        // SAFETY: the callback gets `image` back as its data pointer, which is valid and unaliased for the
        // call.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut image).cast()) };
        image
    }

    /// The distance of `address` from the image's base, if the image has code there.
    #[must_use]
    pub fn offset_of(&self, address: usize) -> Option<u64> {
        self.has_code_at(address).then(|| (address - self.base) as u64)
    }

    /// The address `offset` bytes from the image's base, if the image has code there.
    #[must_use]
    pub fn address_at(&self, offset: u64) -> Option<usize> {
        let address = self.base.checked_add(usize::try_from(offset).ok()?)?;
        self.has_code_at(address).then_some(address)
    }

    fn has_code_at(&self, address: usize) -> bool {
        self.text.iter().any(|range| range.contains(&address))
    }

    /// Bytes that two processes share exactly when they run the same build: the linker's build id, or else
    /// device, inode, size and modification time of the file.
    ///
    /// # Errors
    /// Without a build id, whatever `stat("/proc/self/exe")` says.
    pub fn identity(&self) -> Result<Vec<u8>> {
        if let Some(id) = &self.build_id {
            return Ok([b"build-id:", id.as_slice()].concat());
        }
        let file = std::fs::metadata(EXECUTABLE)?;
        let facts = [file.dev(), file.ino(), file.size(), file.mtime() as u64, file.mtime_nsec() as u64];
        Ok([b"file:".as_slice(), &facts.map(u64::to_le_bytes).concat()].concat())
    }

    /// Whether the program was started as `ld.so ./program`: then `/proc/self/exe` is the loader, not the
    /// program.
    #[must_use]
    pub fn runs_under_loader(&self) -> bool {
        // The kernel notes an interpreter's base only when it was the kernel who loaded one. A static-pie has
        // neither; a program that names an interpreter which the kernel did not load was itself loaded by
        // one. SAFETY: getauxval only reads the auxiliary vector.
        self.has_interpreter && unsafe { libc::getauxval(libc::AT_BASE) } == 0
    }
}

/// Whether this process runs with more rights than its caller (set-user-id, file capabilities), so that its
/// environment must not be trusted.
#[must_use]
pub fn is_secure() -> bool {
    // SAFETY: getauxval only reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The first object reported is the program itself; returning 1 ends the iteration there.
unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: `data` is the image that `find` passed, and nobody else uses it meanwhile.
    let image = unsafe { &mut *data.cast::<Image>() };
    // SAFETY: the loader passes a valid structure for the duration of the call.
    let info = unsafe { &*info };
    image.base = usize::try_from(info.dlpi_addr).unwrap_or(0);
    // SAFETY: the loader keeps `dlpi_phnum` program headers at `dlpi_phdr` while the object is loaded.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    for header in headers {
        let start = image.base.wrapping_add(usize::try_from(header.p_vaddr).unwrap_or(0));
        let length = usize::try_from(header.p_memsz).unwrap_or(0);
        match header.p_type {
            libc::PT_LOAD if header.p_flags & libc::PF_X != 0 => image.text.push(start..start + length),
            libc::PT_INTERP => image.has_interpreter = true,
            libc::PT_NOTE if image.build_id.is_none() => {
                // SAFETY: notes lie inside a readable, loaded segment of the main program, which is never
                // unloaded.
                let notes = unsafe { std::slice::from_raw_parts(start as *const u8, length) };
                image.build_id = build_id(notes);
            }
            _ => {}
        }
    }
    1
}

/// Looks for the note `GNU`, type `NT_GNU_BUILD_ID`.
fn build_id(mut notes: &[u8]) -> Option<Vec<u8>> {
    const NT_GNU_BUILD_ID: usize = 3;
    let word = |bytes: &[u8], at: usize| {
        let word = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(word)).ok()
    };
    while let (Some(name_len), Some(len), Some(kind)) = (word(notes, 0), word(notes, 4), word(notes, 8)) {
        let content = 12 + name_len.next_multiple_of(4);
        if kind == NT_GNU_BUILD_ID && notes.get(12..12 + name_len) == Some(b"GNU\0".as_slice()) {
            return notes.get(content..content + len).filter(|id| !id.is_empty()).map(<[u8]>::to_vec);
        }
        notes = notes.get(content + len.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Image, build_id, is_secure};

    #[test]
    fn our_own_functions_are_inside_and_data_is_not() {
        let image = Image::current();
        let function = is_secure as *const () as usize;
        let offset = image.offset_of(function).unwrap();
        assert_eq!(image.address_at(offset), Some(function));
        assert_eq!(image.offset_of((&raw const image).addr()), None);
        assert_eq!(image.address_at(u64::MAX), None);
        assert_eq!(image.address_at(0), None);
    }

    #[test]
    fn the_identity_is_stable_and_the_loader_is_not_in_between() {
        let image = Image::current();
        assert!(image.identity().unwrap().len() > 12);
        assert_eq!(image.identity().unwrap(), Image::find().identity().unwrap());
        assert!(!image.runs_under_loader());
    }

    #[test]
    fn notes_are_walked() {
        let note = |name: &[u8], kind: u32, content: &[u8]| {
            let mut note = Vec::new();
            for word in [name.len() as u32, content.len() as u32, kind] {
                note.extend_from_slice(&word.to_ne_bytes());
            }
            note.extend_from_slice(name);
            note.resize(note.len().next_multiple_of(4), 0);
            note.extend_from_slice(content);
            note.resize(note.len().next_multiple_of(4), 0);
            note
        };
        let both = [note(b"GNU\0", 1, &[1, 2, 3]), note(b"GNU\0", 3, &[7; 20])].concat();
        assert_eq!(build_id(&both), Some(vec![7; 20]));
        assert_eq!(build_id(&both[..20]), None);
        assert_eq!(build_id(&note(b"Other", 3, &[1])), None);
        assert_eq!(build_id(&[]), None);
        assert_eq!(build_id(&[0xff; 64]), None);
    }
}
