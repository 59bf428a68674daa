//! Both programs as processes against a fake backend, and the command line of `omgctl`.

#[cfg(test)]
mod demo;
#[cfg(test)]
mod help;
#[cfg(test)]
mod process;
