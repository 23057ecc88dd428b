//! Prompts equal Python jinja2's output byte for byte; hostile templates end in an error, quickly.
//!
//! The goldens in `fixtures/chat` are made by `make_goldens.py` there, which says how to run it.

use std::time::{Duration, Instant};

use qwip::chat::{ChatTemplate, Message, RenderOptions, messages_from_openai};
use serde_json::{Map, Value};

/// The clock of `make_goldens.py`.
const NOW: i64 = 1_720_098_309;

const CASES: &str = include_str!("fixtures/chat/cases.json");
const SNIPPETS: &str = include_str!("fixtures/chat/snippets.json");
const TEMPLATES: [(&str, &str, &str); 4] = [
    (
        "qwen2.5-instruct",
        include_str!("fixtures/chat/templates/qwen2.5-instruct.jinja"),
        include_str!("fixtures/chat/expected/qwen2.5-instruct.json"),
    ),
    (
        "qwen3",
        include_str!("fixtures/chat/templates/qwen3.jinja"),
        include_str!("fixtures/chat/expected/qwen3.json"),
    ),
    (
        "qwen3-coder",
        include_str!("fixtures/chat/templates/qwen3-coder.jinja"),
        include_str!("fixtures/chat/expected/qwen3-coder.json"),
    ),
    (
        "qwen3.5",
        include_str!("fixtures/chat/templates/qwen3.5.jinja"),
        include_str!("fixtures/chat/expected/qwen3.5.json"),
    ),
];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn options(case: &Value) -> RenderOptions {
    let mut options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
    for (name, value) in case["options"].as_object().unwrap() {
        match name.as_str() {
            "add_generation_prompt" => options.add_generation_prompt = value.as_bool().unwrap(),
            "enable_thinking" => options.thinking = value.as_bool(),
            _ => drop(options.extra.insert(name.clone(), value.clone())),
        }
    }
    options
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// Fails unless `found` is the expected text, or an error where Python raised one.
fn check(found: Result<String, String>, expected: &Value, what: &str, failures: &mut Vec<String>) {
    match (found, expected["text"].as_str()) {
        (Ok(found), Some(text)) if found == text => {}
        (Err(error), None) => assert!(!error.contains('\n') && error.len() < 1500, "{what}: {error}"),
        (found, _) => failures.push(format!("{what}\n  found    {found:?}\n  expected {expected}")),
    }
}

#[test]
fn prompts_equal_those_of_jinja2() {
    let cases = json(CASES);
    let mut failures = Vec::new();
    let mut texts = 0;
    for (name, source, expected) in TEMPLATES {
        let template = ChatTemplate::parse(source).unwrap();
        let expected = json(expected);
        for (case_name, case) in cases.as_object().unwrap() {
            let tools = case["tools"].as_array().unwrap();
            let options = options(case);
            let expected = &expected[case_name];
            let raw: Vec<Message> =
                case["messages"].as_array().unwrap().iter().map(|m| Message::from_map(map(m))).collect();
            let found = template.render(&raw, tools, &options).map_err(|e| e.to_string());
            check(found, &expected["raw"], &format!("{name}: {case_name}, as given"), &mut failures);

            let wanted = if expected["openai"] == "raw" { &expected["raw"] } else { &expected["openai"] };
            let found = messages_from_openai(&case["messages"])
                .and_then(|messages| template.render(&messages, tools, &options))
                .map_err(|e| e.to_string());
            check(found, wanted, &format!("{name}: {case_name}, from OpenAI's form"), &mut failures);
            texts += usize::from(wanted["text"].is_string());
        }
    }
    assert!(failures.is_empty(), "{} prompts differ:\n{}", failures.len(), failures.join("\n"));
    assert!(texts > 4 * 45, "only {texts} prompts were compared");
}

#[test]
fn the_language_equals_jinja2() {
    let fixture = json(SNIPPETS);
    let options =
        RenderOptions { extra: map(&fixture["variables"]), now: Some(NOW), ..RenderOptions::default() };
    let mut failures = Vec::new();
    for snippet in fixture["snippets"].as_array().unwrap() {
        let source = snippet["source"].as_str().unwrap();
        let found = ChatTemplate::parse(source).and_then(|template| template.render(&[], &[], &options));
        check(found.map_err(|e| e.to_string()), snippet, &format!("{source:?}"), &mut failures);
    }
    assert!(failures.is_empty(), "{} snippets differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn special_tokens_and_extra_variables() {
    let template = ChatTemplate::parse("{{ bos_token }}|{{ eos_token }}|{{ mood }}|{{ tools }}").unwrap();
    let mut options = RenderOptions {
        bos_token: Some("<s>".to_owned()),
        eos_token: Some("</s>".to_owned()),
        ..RenderOptions::default()
    };
    assert_eq!(template.render(&[], &[], &options).unwrap(), "<s>|</s>||None");
    options.extra.insert("mood".to_owned(), Value::from("calm"));
    options.extra.insert("bos_token".to_owned(), Value::from("B"));
    assert_eq!(template.render(&[], &[Value::from(1)], &options).unwrap(), "B|</s>|calm|[1]");
}

#[test]
fn the_fallback_is_plain_chatml() {
    let messages = [Message::system("S"), Message::user("U\n"), Message::assistant("A"), Message::tool("T")];
    let prompt = ChatTemplate::chatml().render(&messages, &[], &RenderOptions::default()).unwrap();
    assert_eq!(
        prompt,
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU\n<|im_end|>\n\
         <|im_start|>assistant\nA<|im_end|>\n<|im_start|>tool\nT<|im_end|>\n"
    );
}

#[test]
fn errors_name_the_line_and_fit_on_one() {
    let render = |source: &str| {
        let template = ChatTemplate::parse(source)?;
        template.render(&[Message::user("hi")], &[], &RenderOptions::default())
    };
    let error = |source: &str| render(source).unwrap_err().to_string();
    assert_eq!(error("a\nb {{ 1 + }}"), "chat template, line 2: expected an expression, found '}}'");
    assert_eq!(
        error("{% if 1 %}\nx"),
        "chat template, line 2: expected '{% elif %}' or '{% else %}' or '{% endif %}', found the end of the template"
    );
    assert_eq!(
        error("\n{% include 'x' %}"),
        "chat template, line 2: the tag 'include' is not supported here"
    );
    assert_eq!(
        error("\n\n{{ messages[0].extra.more }}"),
        "chat template, line 3: 'messages[..].extra' is undefined, so it has no 'more'"
    );
    assert_eq!(error("{{ raise_exception('two\nlines') }}"), "chat template, line 1: two lines");
    assert_eq!(
        error("{{ raise_exception('') }}"),
        "chat template, line 1: the template refused without a reason"
    );
    assert!(error("{{ raise_exception('x' * 100000) }}").len() < 400);
}

/// Every one of these must be refused or give up: by an error of one line, in less than a second, on a thread with a
/// small stack.
#[test]
fn hostile_templates_end_quickly() {
    let n = 100_000;
    // As often as a source may be long, which is 256 KiB.
    let repeat = |head: &str, part: &str, tail: &str| {
        format!("{head}{}{tail}", part.repeat(n.min(260_000 / part.len())))
    };
    let sources = [
        // Parsing: nesting and chains.
        repeat("{{ ", "(", "1"),
        format!("{{{{ {}1{} }}}}", "(".repeat(n), ")".repeat(n)),
        repeat("{{ ", "[", "1"),
        format!("{{{{ {}1{} }}}}", "[".repeat(n), "]".repeat(n)),
        repeat("{{ ", "{1:", "1"),
        repeat("{{ ", "f(", "1"),
        repeat("{{ ", "x[", "1"),
        repeat("{{ ", "not ", "1 }}"),
        repeat("{{ ", "- ", "1 }}"),
        repeat("{{ 1", " + 1", " }}"),
        repeat("{{ 1", " ** 1", " }}"),
        repeat("{{ 1", " and 1", " }}"),
        repeat("{{ 1", " or 1", " }}"),
        repeat("{{ 1", " if 1 else 1", " }}"),
        repeat("{{ 1", " if 1", " }}"),
        repeat("{{ x", ".y", " }}"),
        repeat("{{ x", "[0]", " }}"),
        repeat("{{ x", "()", " }}"),
        repeat("{{ x", "|trim", " }}"),
        repeat("{{ x", " is none", " }}"),
        repeat("", "{% if 1 %}", ""),
        repeat("", "{% for x in [1] %}", ""),
        repeat("", "{% macro m() %}", ""),
        repeat("{% for ", "(", "x in y %}"),
        repeat("{% set x", "|trim", " %}{% endset %}"),
        "{".repeat(1 << 18),
        "{".repeat(1 << 24),
        // Running for ever.
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}".to_owned(),
        "{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}".to_owned(),
        "{{ range(10 ** 30) }}".to_owned(),
        "{{ range(-170141183460469231731687303715884105727, 170141183460469231731687303715884105727) }}".to_owned(),
        "{{ 10 ** 10 ** 10 }}".to_owned(),
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned(),
        "{% macro m() %}{% if 1 %}{% for x in [1] %}{{ 1 + (m() | length) }}{% endfor %}{% endif %}{% endmacro %}{{ m() }}".to_owned(),
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{{ a() }}{% endmacro %}{{ a() }}".to_owned(),
        "{% macro m() %}{{ caller() }}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{% call m() %}{% endcall %}".to_owned(),
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(30) }}".to_owned(),
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}".to_owned(),
        "{% set s = 'ab' * 1000000 %}{% for i in range(100000) %}{{ 'z' in s }}{% endfor %}".to_owned(),
        "{% set s = 'ab' * 1000000 %}{% for i in range(100000) %}{% if s == s ~ '' %}{% endif %}{% endfor %}".to_owned(),
        "{% set s = 'ab' * 1000000 %}{% for i in range(100000) %}{{ s.strip('ab')|length }}{% endfor %}".to_owned(),
        "{% set l = range(100000)|list %}{% for i in l %}{{ 'x' in l }}{{ l|sort|length }}{{ l|unique|list|length }}{% endfor %}".to_owned(),
        // Building for ever.
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}".to_owned(),
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}".to_owned(),
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x|replace('a', 'aa') %}{% endfor %}".to_owned(),
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}".to_owned(),
        "{% set ns = namespace(x=['aaaaaaaa']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}".to_owned(),
        "{% set ns = namespace(x=['aaaaaaaa']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}".to_owned(),
        "{% set ns = namespace(x=['aaaaaaaa']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x == [ns.x[0], ns.x[1], 1] or ns.x < [ns.x[1]] }}{{ ns.x == ns.x[:] }}".to_owned(),
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}".to_owned(),
        "{% set ns = namespace(x=1) %}{% for i in range(100000) %}{% set ns.x = {'a': ns.x} %}{% endfor %}".to_owned(),
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x.index] %}{% endfor %}".to_owned(),
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}".to_owned(),
        "{{ 'a' * 100000000000 }}".to_owned(),
        "{{ [1] * 100000000000 }}".to_owned(),
        "{{ 'a' * 170141183460469231731687303715884105727 }}".to_owned(),
        "{{ ''.center(100000000000) }}".to_owned(),
        "{{ ''|center(100000000000) }}".to_owned(),
        "{{ '1'.zfill(100000000000) }}".to_owned(),
        "{{ 'a\nb'|indent(100000000000) }}".to_owned(),
        "{{ [[1]]|tojson(indent=100000000000) }}".to_owned(),
        "{{ 'a'|batch(100000000000, 1) }}".to_owned(),
        "{{ 'a'|slice(100000000000) }}".to_owned(),
        "{{ 1|round(100000000000) }}{{ 1.5|round(-1) }}".to_owned(),
        "{{ '%.100000000000f' % 1.5 }}".to_owned(),
        "{% for i in range(100000) %}{% macro m() %}{% endmacro %}{% endfor %}".to_owned(),
        "{{ strftime_now('%Y' * 100000000) }}".to_owned(),
        // Work that looks small. A tuple of two halves that are the same one is visited once, not 2^26 times.
        format!("{{% set t = 1 %}}{}{{% for i in range(100) %}}{{{{ t in {{}} }}}}{{% endfor %}}{{{{ 1 / 0 }}}}", "{% set t = (t, t) %}".repeat(26)),
        "{% set k = 'k' * 2000000 %}{% set d = {k ~ 'a': 1, k ~ 'b': 2} %}{% set n = k ~ 'c' %}{% for i in range(100000) %}{{ d[n] }}{{ d.get(n) }}{% endfor %}".to_owned(),
        "{% set s = 'a' * 2000000 %}{% set t = (s[1:] ~ 'b',) * 1000 %}{% for i in range(100000) %}{{ s.startswith(t) }}{% endfor %}".to_owned(),
        "{% set s = 'a' * 2000000 %}{% for i in range(100000) %}{{ 'a'.find(s) }}{{ 'a'.replace(s, '') }}{{ 'b'|replace(s, '') }}{% endfor %}".to_owned(),
        "{% set f = '%s' * 1000000 %}{% set t = ('',) * 1000000 %}{% for i in range(100000) %}{{ f % t }}{% endfor %}".to_owned(),
        "{% set f = '%%' * 1000000 %}{% for i in range(100000) %}{{ f % '' }}{% endfor %}".to_owned(),
        "{% set s = '0' * 2000000 %}{% for i in range(100000) %}{{ s|int }}{{ s|float }}{% endfor %}".to_owned(),
        "{% set s = 'x' * 2000000 %}{% set l = [{}] * 100000 %}{{ l|map(attribute=s)|list|length }}{{ 1 / 0 }}".to_owned(),
    ];
    let small_stack = std::thread::Builder::new().stack_size(1 << 19);
    let run = move || {
        for source in sources {
            let shown: String = source.chars().take(120).collect();
            let attempt = || {
                let start = Instant::now();
                let result = ChatTemplate::parse(&source).and_then(|template| {
                    template.render(&[Message::user("hi")], &[], &RenderOptions::default())
                });
                (result, start.elapsed())
            };
            // A busy machine may be slow once, not every time.
            let (mut result, mut took) = attempt();
            for _ in 0..4 {
                if took >= Duration::from_secs(1) {
                    (result, took) = attempt();
                }
            }
            assert!(took < Duration::from_secs(1), "{took:?} for {shown}");
            match result {
                Ok(text) => panic!("{} bytes came out of {shown}", text.len()),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!error.contains('\n') && error.len() < 500, "{error} for {shown}");
                }
            }
        }
    };
    small_stack.spawn(run).unwrap().join().unwrap();
}

#[test]
fn deep_and_large_messages_are_no_danger() {
    let mut deep = Value::from(1);
    for _ in 0..90 {
        deep = Value::from(vec![deep]);
    }
    let template = ChatTemplate::parse("{{ messages[0].content|tojson }}").unwrap();
    let render = |content: &Value| {
        let message = Map::from_iter([
            ("role".to_owned(), Value::from("user")),
            ("content".to_owned(), content.clone()),
        ]);
        template.render(&[Message::from_map(message)], &[], &RenderOptions::default())
    };
    assert_eq!(render(&deep).unwrap(), deep.to_string());
    for _ in 0..20 {
        deep = Value::from(vec![deep]);
    }
    let error = render(&deep).unwrap_err().to_string();
    assert!(error.contains("nested deeper than 100"), "{error}");
}

/// The limits must not get into the way of a long conversation.
#[test]
fn long_conversations_render() {
    let mut messages = vec![Message::system("S")];
    for i in 0..5_000 {
        messages.push(Message::user(&format!("question {i} {}", "word ".repeat(200))));
        messages.push(Message::assistant(&format!(
            "<think>\nhm {i}\n</think>\n\nanswer {}",
            "word ".repeat(200)
        )));
    }
    messages.push(Message::user(&"long ".repeat(1_000_000)));
    let options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
    for (name, source, _) in TEMPLATES {
        let prompt = ChatTemplate::parse(source).unwrap().render(&messages, &[], &options).unwrap();
        assert_eq!(prompt.matches("<|im_start|>user\n").count(), 5_001, "{name}");
        assert!(prompt.len() > 10_000_000, "{name}");
    }
}
