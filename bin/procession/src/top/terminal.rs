//! The terminal while `top` has it: taken over, given back however this ends, and what is typed.

use super::update::Key;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use ratatui::layout::{Position, Rect};
use std::io::{self, Stdout, stdout};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether the terminal is taken over.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, taken over until this is dropped.
pub(crate) struct Screen {
    pub(crate) terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// # Errors
    /// When the terminal does not do as it is told.
    pub(crate) fn take() -> io::Result<Self> {
        give_back_in_panics();
        let terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        let mut screen = Self { terminal };
        screen.take_again()?;
        Ok(screen)
    }

    /// Takes over what was [given back](give_back), and draws all of it anew.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn take_again(&mut self) -> io::Result<()> {
        TAKEN.store(true, Ordering::Relaxed);
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, cursor::Hide)?;
        self.redraw()
    }

    /// Clears it, so that all of it is drawn anew. Not by `clear`, which asks the terminal where its cursor is,
    /// and waits for an answer.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn redraw(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether somebody has given the terminal back meanwhile: a panic has.
pub(crate) fn is_taken() -> bool {
    TAKEN.load(Ordering::Relaxed)
}

/// Leaves the terminal as it was found. It may be gone, or be given back already.
pub(crate) fn give_back() {
    if TAKEN.swap(false, Ordering::Relaxed) {
        drop(execute!(stdout(), LeaveAlternateScreen, cursor::Show));
        drop(disable_raw_mode());
    }
}

/// What a panic says is to be read on the screen that stays.
fn give_back_in_panics() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
}

/// What was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Key(Key),
    /// Ctrl-C: end, as by SIGINT.
    Interrupt,
    /// Ctrl-Z: stop, until `fg`.
    Stop,
    /// Ctrl-L.
    Redraw,
}

/// What was typed and not taken yet; nobody waits.
///
/// # Errors
/// When the terminal is gone.
pub(crate) fn typed() -> io::Result<Vec<Typed>> {
    let mut all = Vec::new();
    while event::poll(Duration::ZERO)? {
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => all.extend(meaning(key)),
            _ => {}
        }
    }
    Ok(all)
}

fn meaning(key: KeyEvent) -> Option<Typed> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Typed::Interrupt),
            KeyCode::Char('z') => Some(Typed::Stop),
            KeyCode::Char('l') => Some(Typed::Redraw),
            _ => None,
        };
    }
    Some(Typed::Key(match key.code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::{Typed, meaning};
    use crate::top::update::Key;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    #[test]
    fn keys_mean_what_they_say() {
        let of = |code, modifiers| meaning(KeyEvent::new(code, modifiers));
        assert_eq!(of(KeyCode::Char('J'), KeyModifiers::SHIFT), Some(Typed::Key(Key::Char('J'))));
        assert_eq!(of(KeyCode::Char('z'), KeyModifiers::CONTROL), Some(Typed::Stop));
        assert_eq!(of(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Typed::Interrupt));
        assert_eq!(of(KeyCode::F(1), KeyModifiers::NONE), None);
    }
}
