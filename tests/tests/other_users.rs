//! Other users of the machine make files in `/dev/shm`, too, under our names if they like. Whatever they make
//! there, a victim neither crashes, hangs, reads it, changes it, nor believes it; and it is told whose file
//! is in its way.
//!
//! The tests start programs as other users, and so are for root: otherwise they say that they were skipped.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::shm::gc;
use procession::{GetError, Lock, Namespace, OpenError, PlainMemory, Queue};
use procession_sys::shm_file;
use procession_tests::{Actor, Scratch, Watchdog, note, program, python, raw, run, until};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// Two users who own nothing else; the first one has a name on most systems.
const NOBODY: u32 = 65_534;
const STRANGER: u32 = 65_533;

/// Whether these tests can be played here.
fn can_be_others() -> bool {
    if shm_file::effective_uid() != 0 {
        note("SKIPPED: only root can start programs of other users");
        return false;
    }
    let tried = Command::new(program("actor")).uid(STRANGER).gid(STRANGER).stdin(Stdio::null()).output();
    let can = tried.as_ref().is_ok_and(|output| output.status.success());
    if !can {
        note(&format!("SKIPPED: other users cannot run {}: {tried:?}", program("actor").display()));
    }
    can
}

fn actor_of(uid: u32, namespace: &Namespace) -> Actor {
    let mut command = Command::new(program("actor"));
    command.uid(uid).gid(uid);
    Actor::start_as(command, namespace)
}

/// The file of an object of a user.
fn path_of(uid: u32, namespace: &Namespace, name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/procession.{uid}.{}.{name}", namespace.name()))
}

/// Makes a file another user's, who lets everybody in.
fn give_away(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
    chown(path, Some(STRANGER), Some(STRANGER)).unwrap();
}

/// What somebody else's file is: nothing of it may change.
fn state(path: &Path) -> (u64, u32, u32, Option<Vec<u8>>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let bytes = meta.is_file().then(|| fs::read(path).unwrap());
    (meta.ino(), meta.mode(), meta.uid(), bytes)
}

fn remove(path: &Path) {
    let meta = fs::symlink_metadata(path).unwrap();
    let removed = if meta.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    removed.unwrap();
}

/// What can stand in the place of a file.
type Squat = fn(&Path);

const SQUATS: [(&str, Squat); 8] = [
    ("an empty file", |path| drop(File::create_new(path).unwrap())),
    ("a file nobody else may open", |path| {
        fs::write(path, [7; 5000]).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        chown(path, Some(STRANGER), Some(STRANGER)).unwrap();
    }),
    ("an object", |path| {
        let theirs = Scratch::new();
        let lock = Lock::options().namespace(&theirs).create("theirs").unwrap();
        fs::copy(raw::path(&theirs, "theirs"), path).unwrap();
        lock.unlink().unwrap();
    }),
    ("a registry", |path| {
        let theirs = Scratch::new();
        drop(Lock::options().namespace(&theirs).anonymous().unwrap());
        fs::copy(raw::registry(&theirs), path).unwrap();
    }),
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("a FIFO", |path| drop(run(Command::new("mkfifo").arg(path)))),
    ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("a symbolic link", |path| {
        symlink("/dev/zero", path).unwrap();
        std::os::unix::fs::lchown(path, Some(STRANGER), Some(STRANGER)).unwrap();
    }),
];

/// Puts it there as a stranger's.
fn squat(what: &str, make: Squat, path: &Path) {
    make(path);
    if !["a symbolic link", "a file nobody else may open"].contains(&what) {
        give_away(path);
    }
}

/// The attack: a queue and its long messages at the victim's names, everybody's to open, and all the time as
/// short as can be or as long as before. Who maps it dies at the first touch.
#[test]
fn nobody_dies_of_files_that_others_cut() {
    if !can_be_others() {
        return;
    }
    for uid in [0, NOBODY] {
        let scratch = Scratch::unswept();
        let mut maker = actor_of(uid, &scratch);
        maker.does("create queue q bytes=256");
        for message in 0..3 {
            maker.does(&format!("put q {message} 3000"));
        }
        maker.kill();
        let prefix = path_of(uid, &scratch, "").display().to_string();
        let theirs: Vec<PathBuf> =
            files(&prefix).filter(|path| *path != path_of(uid, &scratch, ".registry")).collect();
        let spills: Vec<&PathBuf> =
            theirs.iter().filter(|path| path.display().to_string().contains(".spill-")).collect();
        assert_eq!(spills.len(), 3);
        theirs.iter().for_each(|path| give_away(path));
        remove(&path_of(uid, &scratch, ".registry"));
        let before: Vec<_> = spills.iter().map(|path| state(path)).collect();
        let home = OpenOptions::new().write(true).open(path_of(uid, &scratch, "q")).unwrap();
        let len = home.metadata().unwrap().len();
        let ends = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    home.set_len(0).unwrap();
                    home.set_len(len).unwrap();
                }
            });
            for _ in 0..30 {
                let mut victim = actor_of(uid, &scratch);
                victim.does("register");
                assert_eq!(victim.does("gc"), "0");
                assert!(victim.fails("open queue q", "WrongOwner").contains(&STRANGER.to_string()));
                victim.finish();
            }
            ends.store(true, Ordering::Relaxed);
        });
        let after: Vec<_> = spills.iter().map(|path| state(path)).collect();
        assert!(before == after, "somebody else's files were changed");
        theirs.iter().for_each(|path| remove(path));
        assert_eq!(files(&prefix).count(), 0, "the last one out left its registry");
    }
}

/// All files whose path begins like that.
fn files(prefix: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let names = shm_file::names(prefix.strip_prefix("/dev/shm/").unwrap()).unwrap();
    names.into_iter().map(|name| shm_file::path(&name))
}

#[test]
fn who_finds_a_strangers_file_at_its_registrys_name_is_told_whose_it_is_and_what_to_do() {
    if !can_be_others() {
        return;
    }
    for (what, make) in SQUATS {
        for uid in [0, NOBODY] {
            let scratch = Scratch::unswept();
            let path = path_of(uid, &scratch, ".registry");
            squat(what, make, &path);
            let before = state(&path);
            let mut victim = actor_of(uid, &scratch);
            let said = victim.fails("create lock l", "WrongOwner");
            is_told(&said, &path, what);
            victim.fails("open lock l", "WrongOwner");
            victim.finish();
            // Other namespaces are as they were.
            let elsewhere = Scratch::new();
            let mut other = actor_of(uid, &elsewhere);
            other.does("create lock l");
            other.does("unlink l");
            assert!(other.does("gc").starts_with('0'), "{what}");
            other.finish();
            assert!(state(&path) == before, "{what}");
            remove(&path);
            let mut victim = actor_of(uid, &scratch);
            victim.does("create lock l");
            victim.does("unlink l");
            victim.does("drop l");
            victim.finish();
            assert_eq!(files(&path_of(uid, &scratch, "").display().to_string()).count(), 0, "{what}");
        }
    }
}

/// The words that help: the path, the owner's number, and what is to be done about it.
fn is_told(said: &str, path: &Path, what: &str) {
    for word in [&*path.display().to_string(), &STRANGER.to_string(), "remove", "another namespace"] {
        assert!(said.contains(word), "{what}: {said} lacks {word}");
    }
}

#[test]
fn who_finds_a_strangers_file_at_an_objects_name_is_told_so_and_leaves_it() {
    if !can_be_others() {
        return;
    }
    for (what, make) in SQUATS {
        for uid in [0, NOBODY] {
            let scratch = Scratch::unswept();
            let mut victim = actor_of(uid, &scratch);
            victim.does("create lock good");
            let path = path_of(uid, &scratch, "l");
            squat(what, make, &path);
            let before = state(&path);
            for command in
                ["open lock l", "create lock l", "open_or_create lock l", "create queue l", "unlink l"]
            {
                let said = victim.fails(command, "WrongOwner");
                is_told(&said, &path, &format!("{what}, {command}"));
            }
            assert_eq!(victim.does("gc"), "0", "{what}");
            assert_eq!(victim.does("gc_unused"), "0", "{what}");
            victim.does("cycle good 3");
            victim.does("unlink good");
            victim.does("drop good");
            victim.finish();
            assert!(state(&path) == before, "{what}");
            // It keeps no registry of ours from going.
            assert!(!path_of(uid, &scratch, ".registry").exists(), "{what}");
            remove(&path);
        }
    }
}

/// The owner of a file can hold a lease on it: then whoever opens it waits for three quarters of a minute,
/// unless it asks not to.
#[test]
fn nobody_waits_for_the_lease_that_a_stranger_holds_on_a_file() {
    const HOLDS: &str = "import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
for path in sys.argv[1:]:
    file = os.open(path, os.O_CREAT | os.O_RDWR)
    os.fchmod(file, 0o666)
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('holds', flush=True)
sys.stdin.read()";
    if !can_be_others() {
        return;
    }
    for uid in [0, NOBODY] {
        let scratch = Scratch::for_seconds(30);
        let private = Scratch::for_seconds(30);
        let paths = [
            path_of(uid, &scratch, "l"),
            path_of(uid, &scratch, ".anonymous-0123456789abcdef"),
            path_of(uid, &private, ".registry"),
        ];
        let mut stranger = python();
        stranger.args(["-c", HOLDS]).args(&paths).uid(STRANGER).gid(STRANGER);
        let mut stranger = stranger.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 6];
        stranger.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        let mut victim = actor_of(uid, &scratch);
        victim.does("register");
        victim.does("gc");
        for command in ["open lock l", "create lock l", "open_or_create queue l", "unlink l"] {
            is_told(&victim.fails(command, "WrongOwner"), &paths[0], command);
        }
        actor_of(uid, &private).fails("register", "WrongOwner");
        victim.finish();
        drop(stranger.stdin.take());
        assert!(stranger.wait().unwrap().success());
        paths.iter().for_each(|path| remove(path));
    }
}

/// Files that look like garbage of the victim's, and are another user's: nobody collects them, and they keep
/// nothing of the victim's from being collected.
#[test]
fn what_looks_like_our_garbage_and_is_a_strangers_stays_as_it_is() {
    if !can_be_others() {
        return;
    }
    let scratch = Scratch::unswept();
    let private = Scratch::new();
    let mut maker = Actor::start(&scratch);
    maker.does("anonymous queue a bytes=256");
    maker.does("put a 1 3000");
    maker.does("create queue q");
    maker.kill();
    let mut maker = Actor::start(&private);
    maker.does("create queue q");
    maker.kill();
    raw::poke(&scratch, "q", raw::STATE, &1_u32.to_le_bytes());
    fs::rename(raw::path(&scratch, "q"), raw::path(&scratch, ".unlinked-0123456789abcdef")).unwrap();
    let of =
        |namespace: &Namespace| files(&raw::path(namespace, "").display().to_string()).collect::<Vec<_>>();
    let theirs = [of(&scratch), of(&private)].concat();
    assert_eq!(theirs.len(), 6, "{theirs:?}");
    theirs.iter().for_each(|path| give_away(path));
    remove(&raw::registry(&scratch));
    let theirs: Vec<&PathBuf> = theirs.iter().filter(|path| path.exists()).collect();
    let before: Vec<_> = theirs.iter().map(|path| state(path)).collect();
    for _ in 0..3 {
        let mut victim = Actor::start(&scratch);
        victim.does("anonymous queue mine");
        assert_eq!(victim.does("gc_unused"), "0");
        drop(gc::collect(Some(&private), gc::Options::default().unused(true)).unwrap());
        victim.exits();
    }
    let after: Vec<_> = theirs.iter().map(|path| state(path)).collect();
    assert!(before == after, "somebody else's files were changed");
    assert!(!raw::registry(&scratch).exists());
    assert!(of(&scratch).len() + of(&private).len() == theirs.len(), "something of ours was left");
    theirs.iter().for_each(|path| remove(path));
}

/// A second name for a queue in use, and for one that nobody has open: whatever the name says, the queue and
/// what is in it stay.
#[test]
fn a_link_to_a_queue_under_a_name_of_garbage_does_the_queue_no_harm() {
    if !can_be_others() {
        return;
    }
    let scratch = Scratch::unswept();
    let (private, killed) = (Scratch::new(), Scratch::new());
    let queue: Queue<u32> = Queue::options().namespace(&scratch).create("q").unwrap();
    queue.put(&7).unwrap();
    let low = format!("{:016x}", raw::peek(&scratch, "q", 40));
    drop(queue);
    let mut dead = Actor::start(&killed);
    dead.does("create lock l");
    dead.kill();
    let links = [
        raw::path(&scratch, &format!(".unlinked-{low}")),
        raw::path(&scratch, ".unlinked-0123456789abcdef"),
        raw::path(&scratch, ".anonymous-0123456789abcdef"),
        raw::path(&scratch, &format!(".spill-{low}-0123456789abcdef")),
        raw::path(&private, "left"),
        raw::registry(&private),
        raw::path(&killed, "left"),
        raw::path(&scratch, "another"),
    ];
    for link in &links {
        fs::hard_link(raw::path(&scratch, "q"), link).unwrap();
        for namespace in [&scratch, &private, &killed] {
            let mut victim = Actor::start(namespace);
            // Where the link is at the registry's name, nobody can.
            let said = victim.ask("register");
            assert!(said.starts_with("ok") || said.starts_with("error Linked"), "{said}");
            drop(gc::collect(Some(namespace), gc::Options::default().unused(true)).unwrap());
            victim.exits();
        }
        assert!(!raw::is_retired(&scratch, "q"), "{link:?}");
        let error = Queue::<u32>::options().namespace(&scratch).open("q").unwrap_err();
        assert!(matches!(error, OpenError::Linked { links: 2, .. }), "{error:?}");
        assert!(error.to_string().contains("-samefile"), "{error}");
        remove(link);
    }
    let queue: Queue<u32> = Queue::options().namespace(&scratch).open("q").unwrap();
    assert_eq!(queue.get().unwrap(), 7);
    queue.unlink().unwrap();
}

/// Of two names one can be removed; the other one keeps the object, as if nothing had been.
#[test]
fn removing_one_of_two_names_does_not_say_that_the_object_is_removed() {
    let scratch = Scratch::unswept();
    let queue: Queue<u32> = Queue::options().namespace(&scratch).create("q").unwrap();
    queue.put(&7).unwrap();
    fs::hard_link(raw::path(&scratch, "q"), raw::path(&scratch, "second")).unwrap();
    scratch.unlink("second").unwrap();
    assert!(!raw::is_retired(&scratch, "q"));
    let again: Queue<u32> = Queue::options().namespace(&scratch).open("q").unwrap();
    assert_eq!(again.get().unwrap(), 7);
    queue.unlink().unwrap();
}

/// What was acknowledged is not taken out as lost because somebody links its file, or lets others open it:
/// that passes.
#[test]
fn a_large_message_whose_file_is_refused_stays_in_its_queue() {
    let scratch = Scratch::unswept();
    let queue: Queue<Vec<u8>> = Queue::options().namespace(&scratch).bytes(256).create("q").unwrap();
    queue.put(&vec![7; 3000]).unwrap();
    let name = scratch.objects().into_iter().find(|name| name.starts_with(".spill-")).unwrap();
    let (spill, link) = (raw::path(&scratch, &name), raw::path(&scratch, "link"));
    fs::hard_link(&spill, &link).unwrap();
    let error = queue.get().unwrap_err();
    assert!(matches!(error, GetError::Spill { source: OpenError::Linked { .. }, .. }), "{error:?}");
    remove(&link);
    fs::set_permissions(&spill, Permissions::from_mode(0o666)).unwrap();
    let error = queue.get().unwrap_err();
    assert!(matches!(error, GetError::Spill { source: OpenError::WrongMode { .. }, .. }), "{error:?}");
    // Nor is it garbage meanwhile.
    assert!(gc::collect(Some(&scratch), gc::Options::default()).unwrap().is_empty());
    fs::set_permissions(&spill, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(queue.get().unwrap(), [7; 3000]);
    queue.unlink().unwrap();
}

/// A name that only looks private is a user's: what is in it is kept.
#[test]
fn a_namespace_with_a_private_looking_name_keeps_its_messages() {
    let _watchdog = Watchdog::start();
    let unique = Namespace::private().name().replace("private-", "");
    for name in [format!("private-billing-{unique}"), format!("private-{}", &unique[..16])] {
        let namespace = Namespace::new(&name).unwrap();
        let elsewhere = Scratch::new();
        for ends_by_itself in [true, false] {
            let mut one = Actor::start(&namespace);
            one.does("open_or_create queue q");
            one.does("put q 5");
            if ends_by_itself {
                one.finish();
            } else {
                one.kill();
            }
            let mut other = Actor::start(&elsewhere);
            other.does("register");
            other.does("gc");
            other.finish();
            drop(gc::collect(Some(&namespace), gc::Options::default()).unwrap());
            let mut two = Actor::start(&namespace);
            two.does("open queue q");
            assert_eq!(two.does("get q"), "5", "{name}");
            two.finish();
        }
        namespace.unlink("q").unwrap();
        drop(gc::collect(Some(&namespace), gc::Options::default()).unwrap());
        assert!(namespace.list().unwrap().is_empty());
    }
}

/// Whatever the umask says: what is in memory is for this user alone.
#[test]
fn nobody_else_can_read_what_is_ours() {
    if !can_be_others() {
        return;
    }
    let scratch = Scratch::unswept();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$0\""]).arg(program("actor"));
    let mut ours = Actor::start_as(command, &scratch);
    ours.does("create queue q bytes=256");
    ours.does("put q 1 3000");
    ours.does("anonymous lock a");
    let plain = format!("procession-test-{}", Namespace::private().name());
    let memory = PlainMemory::create(&plain, 100).unwrap();
    let ours_all =
        files(&raw::path(&scratch, "").display().to_string()).chain([Path::new("/dev/shm").join(&plain)]);
    let mut count = 0;
    for path in ours_all {
        let tried = Command::new("cat").arg(&path).uid(STRANGER).gid(STRANGER).output().unwrap();
        assert!(!tried.status.success() && tried.stdout.is_empty(), "{path:?}");
        count += 1;
    }
    assert_eq!(count, 5);
    memory.unlink().unwrap();
    ours.does("unlink q");
    ours.exits();
}

#[test]
fn plain_memory_of_a_stranger_or_with_two_names_is_refused() {
    if !can_be_others() {
        return;
    }
    let _watchdog = Watchdog::start();
    let name = format!("procession-test-{}", Namespace::private().name());
    let path = Path::new("/dev/shm").join(&name);
    let second = path.with_extension("second");
    let memory = PlainMemory::create(&name, 100).unwrap();
    fs::hard_link(&path, &second).unwrap();
    assert!(matches!(PlainMemory::open(&name), Err(OpenError::Linked { links: 2, .. })));
    remove(&second);
    drop(PlainMemory::open(&name).unwrap());
    memory.unlink().unwrap();
    for (what, make) in SQUATS {
        squat(what, make, &path);
        let before = state(&path);
        for mode in [0o600, 0o666] {
            let error = PlainMemory::open_with_mode(&name, mode).unwrap_err();
            assert!(matches!(error, OpenError::WrongOwner { owner: STRANGER, .. }), "{what}: {error:?}");
            is_told(&error.to_string(), &path, what);
        }
        assert!(state(&path) == before, "{what}");
        remove(&path);
    }
}

/// A program with more rights than its caller does not let the caller say where its objects lie.
#[test]
fn a_set_user_id_program_does_not_obey_its_callers_environment() {
    if !can_be_others() {
        return;
    }
    let scratch = Scratch::unswept();
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let theirs = directory.path().join("actor");
    // Not by this process, which has threads that start others: what they start, would have the copy open for writing
    // for a moment, and nobody can execute it then.
    let copied = Command::new("cp").arg(program("actor")).arg(&theirs).status().unwrap();
    assert!(copied.success());
    chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(&theirs, Permissions::from_mode(0o4755)).unwrap();
    let mut command = Command::new(&theirs);
    command.uid(STRANGER).gid(STRANGER).env("PROCESSION_PREFIX", "elsewhere");
    let mut privileged = Actor::start_as(command, &scratch);
    if fs::metadata(format!("/proc/{}", privileged.pid())).unwrap().uid() == STRANGER {
        note("SKIPPED: a set-user-ID program gets no rights here (a file system mounted nosuid?)");
        return;
    }
    privileged.does("create lock set_user_id_test");
    let default = Namespace::new("default").unwrap();
    let expected = path_of(NOBODY, &default, "set_user_id_test");
    assert!(expected.exists());
    privileged.does("unlink set_user_id_test");
    privileged.does("drop set_user_id_test");
    privileged.finish();
    until("its registry is gone", || !path_of(NOBODY, &default, ".registry").exists());
    assert_eq!(files("/dev/shm/elsewhere.").count(), 0);
}

/// A confined program may make files of certain names only.
#[test]
fn the_beginning_of_all_names_can_be_chosen() {
    let scratch = Scratch::new();
    let prefix = format!("snap.test.{}", scratch.name());
    let start = || {
        let mut command = Command::new(program("actor"));
        command.env("PROCESSION_PREFIX", &prefix);
        Actor::start_as(command, &scratch)
    };
    let (mut one, mut two) = (start(), start());
    one.does("create queue q");
    one.does("put q 5");
    two.does("open queue q");
    assert_eq!(two.does("get q"), "5");
    let mut stranger = Actor::start(&scratch);
    stranger.fails("open queue q", "NotFound");
    assert_eq!(files(&format!("/dev/shm/{prefix}.")).count(), 2);
    one.does("unlink q");
    one.exits();
    two.exits();
    assert_eq!(files(&format!("/dev/shm/{prefix}.")).count(), 0);
    for (bad, why) in
        [("", "empty"), ("a/b", "PROCESSION_PREFIX"), ("ü", "PROCESSION_PREFIX"), (&"x".repeat(65), "longer")]
    {
        let said = Command::new(program("procession-tested"))
            .arg("ls")
            .env("PROCESSION_PREFIX", bad)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(
            !said.status.success() && text.contains("is no valid name") && text.contains(why),
            "{bad}: {text}"
        );
    }
}
