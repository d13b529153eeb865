use super::*;

#[test]
fn fields_are_numbered_and_unknown_names_stay() {
    let text = "ARGV[ARG.worker], ARGV[i + EACH.token], EACH.size, EACH.tokens, X.ARG.worker, t.size";
    assert_eq!(numbered(text, &of("heartbeat.lua")), "ARGV[1], ARGV[i + 1], 2, EACH.tokens, X.ARG.worker, t.size");
}

#[test]
fn a_reply_that_is_too_short_is_an_error() {
    let number = |n| redis::Value::Int(n);
    let reply = Reply::new(vec![number(1), number(2)]).expect("not fenced");
    assert!(reply.head::<ControlReply>().is_err());
    let reply = Reply::new([1, 2, -3].map(number).to_vec()).expect("not fenced");
    let head = reply.head::<ControlReply>().expect("a whole record");
    assert_eq!((head.changed, head.stopping, head.freed), (1, 2, 0));
}
