//! The command, built as a program of the tests' own.

fn main() -> std::process::ExitCode {
    procession_cli::main()
}
