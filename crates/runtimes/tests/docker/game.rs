//! The game server of the tests: a static program without dependencies, alone in its image. Its
//! first argument says what it does.
use std::{fs, io::Write as _, process::exit, thread::sleep, time::Duration};

unsafe extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
    fn _exit(code: i32) -> !;
}

extern "C" fn end(_number: i32) {
    unsafe { _exit(0) }
}

/// Sends every datagram back, with a mark in front.
fn echo(port: u16, mark: &str) {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", port)).unwrap();
    let mut buffer = [0u8; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let _ = socket.send_to(&[mark.as_bytes(), &buffer[..length]].concat(), from);
    }
}

fn main() {
    let mode = std::env::args().nth(1).unwrap_or_default();
    // SIGTERM; 1 is to ignore it.
    let handler = if mode == "deaf" { 1 } else { end as *const () as usize };
    unsafe { signal(15, handler) };
    match mode.as_str() {
        "fail" => {
            for line in 1..=100 {
                println!("line {line}");
            }
            eprintln!("the last words");
            exit(7);
        }
        "eat" => {
            let mut eaten = Vec::new();
            loop {
                let mut piece = vec![0u8; 1 << 20];
                piece.iter_mut().step_by(4096).for_each(|it| *it = 1);
                eaten.push(piece);
            }
        }
        _ => {}
    }
    for (name, value) in std::env::vars() {
        println!("env {name}={value}");
    }
    println!("root {}", fs::write("/here", "x").is_ok());
    println!("tmp {}", fs::write("/tmp/here", "x").is_ok());
    for line in fs::read_to_string("/proc/self/status").unwrap_or_default().lines() {
        if line.starts_with("CapEff") || line.starts_with("NoNewPrivs") || line.starts_with("Seccomp:") {
            println!("{}", line.replace('\t', " "));
        }
    }
    for line in fs::read_to_string("/etc/hosts").unwrap_or_default().lines() {
        println!("host {}", line.replace('\t', " "));
    }
    if mode == "echo" {
        for (port, mark) in [(7777, "one "), (7778, "two ")] {
            std::thread::spawn(move || echo(port, mark));
        }
    }
    println!("ready");
    let _ = std::io::stdout().flush();
    if mode == "short" {
        sleep(Duration::from_millis(700));
        println!("that was it");
        exit(3);
    }
    loop {
        sleep(Duration::from_secs(60));
    }
}
