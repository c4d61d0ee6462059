//! The way through the proxy that `HTTPS_PROXY` names, for the link. Requests take it by themselves.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Address, Error};

/// Bytes of a proxy's answer at most.
const MOST: usize = 8192;

/// A connection to the master, perhaps through a proxy.
pub async fn connect(address: &Address) -> Result<TcpStream, Error> {
    let variable = |names: [&str; 2]| names.iter().find_map(|name| std::env::var(name).ok());
    let proxy = variable(["HTTPS_PROXY", "https_proxy"]).filter(|text| !text.is_empty());
    let without = variable(["NO_PROXY", "no_proxy"]).unwrap_or_default();
    let proxy = proxy.filter(|_| !is_listed(&without, &address.host));
    let failed = |to: String| |source| Error::Connect { to, source };
    match proxy {
        None => {
            let host = address.host.trim_matches(['[', ']']);
            let to = format!("{}:{}", address.host, address.port);
            let stream = TcpStream::connect((host, address.port)).await;
            stream.map_err(failed(to))
        }
        Some(proxy) => {
            let to = format!("the proxy {proxy}");
            through(&proxy, address).await.map_err(failed(to))
        }
    }
}

/// Whether `NO_PROXY` names this host: by itself, or by a domain above it.
fn is_listed(without: &str, host: &str) -> bool {
    without.split(',').map(str::trim).any(|one| {
        let one = one.trim_start_matches('.');
        let below = host
            .strip_suffix(one)
            .is_some_and(|rest| rest.ends_with('.'));
        one == "*" || !one.is_empty() && (one == host || below)
    })
}

async fn through(proxy: &str, address: &Address) -> io::Result<TcpStream> {
    let text = if proxy.contains("://") {
        proxy.to_owned()
    } else {
        format!("http://{proxy}")
    };
    let url = reqwest::Url::parse(&text).map_err(io::Error::other)?;
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    let mut stream = TcpStream::connect((host, port)).await?;
    let to = format!("{}:{}", address.host, address.port);
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let answer = head(&mut stream).await?;
    let status = answer.split_whitespace().nth(1);
    if status == Some("200") {
        return Ok(stream);
    }
    let first = answer.lines().next().unwrap_or_default();
    Err(io::Error::other(format!("it answers {first:?}")))
}

/// The head of the answer, byte by byte: what comes behind it is the master's.
async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MOST {
            return Err(io::Error::other("its answer has no end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy that answers this, and then says back what it hears; what it was asked.
    async fn proxy(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let asked = head(&mut stream).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut word = [0; 5];
            if stream.read_exact(&mut word).await.is_ok() {
                stream.write_all(&word).await.unwrap();
            }
            asked
        });
        (at, served)
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_the_master_and_what_follows_its_answer_is_the_masters() {
        let address: Address = "https://master.example:8443".parse().unwrap();
        let (at, served) =
            proxy("HTTP/1.1 200 Connection established\r\nVia: p\r\n\r\nfirst").await;
        let mut stream = through(&at, &address).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut heard = [0; 10];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"firsthello");
        let asked = served.await.unwrap();
        assert!(
            asked.starts_with(
                "CONNECT master.example:8443 HTTP/1.1\r\nHost: master.example:8443\r\n"
            ),
            "{asked}"
        );
        let (at, _served) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
        let error = through(&format!("http://{at}"), &address)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("407"), "{error}");
    }

    #[test]
    fn hosts_that_need_no_proxy_are_named_alone_or_by_their_domain() {
        let list = "localhost, .example.org,10.0.0.1";
        for host in ["localhost", "example.org", "a.example.org", "10.0.0.1"] {
            assert!(is_listed(list, host), "{host}");
        }
        for host in ["notexample.org", "10.0.0.11", "local"] {
            assert!(!is_listed(list, host), "{host}");
        }
        assert!(is_listed("*", "any") && !is_listed("", "any"));
    }
}
