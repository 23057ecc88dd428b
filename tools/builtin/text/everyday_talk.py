"""Arithmetic, small facts, several turns, thinking, tool calls and JSON."""

import json

from . import everyday as E
from .phrase import dress

SUM = {"en": ["What is {}?", "{}", "{} = ?", "{}?", "How much is {}?", "Calculate {}.", "compute {}", "what's {}", "Can you tell me {}?",
              "{} =", "Please work out {}.", "Tell me the result of {}.", "solve {}", "{} equals?", "whats {}", "do you know {}?"],
       "zh": ["{}等于多少？", "{}等于几？", "{}=?", "{} 是多少？", "计算 {}", "算一下 {}", "{}", "请问 {} 等于多少？", "{} 的结果是什么？", "帮我算 {}", "{} 得几？"]}


def pick_sum(rng):
    """(a, sign, b, result), weighted towards small numbers."""
    op = rng.choices("+-*", [5, 4, 3])[0]
    top = rng.choice([9, 12, 12, 20, 50 if op != "*" else 9])
    a, b = rng.randint(0, top), rng.randint(0, top)
    if op == "*":
        a, b = rng.randint(0, 10), rng.randint(0, 10)
        return a, op, b, a * b
    if op == "-" and a < b:
        a, b = b, a
    return a, op, b, a + b if op == "+" else a - b


def sum_text(rng, a, op, b, lang):
    words = {"en": {"+": ["plus"], "-": ["minus"], "*": ["times", "multiplied by"]}, "zh": {"+": ["加"], "-": ["减"], "*": ["乘", "乘以"]}}
    if rng.random() < 0.4:
        word = rng.choice(words[lang][op])
        if lang == "en":
            small = a <= 12 and b <= 12 and rng.random() < 0.4
            a, b = (E.NUMBERS_EN[a], E.NUMBERS_EN[b]) if small else (a, b)
            return f"{a} {word} {b}"
        if a <= 12 and b <= 12 and rng.random() < 0.4:
            return f"{E.NUMBERS_ZH[a]}{word}{E.NUMBERS_ZH[b]}"
        return f"{a} {word} {b}" if rng.random() < 0.5 else f"{a}{word}{b}"
    sign = rng.choice({"+": "+", "-": "-", "*": "*x×"}[op])
    space = rng.choice([" ", " ", ""])
    return f"{a}{space}{sign}{space}{b}"


def shown(op):
    return "×" if op == "*" else op


def arithmetic(rng, lang):
    a, op, b, result = pick_sum(rng)
    if op != "*" and rng.random() < 0.15:
        return story(rng, lang)
    question = rng.choice(SUM[lang]).format(sum_text(rng, a, op, b, lang))
    if rng.random() < 0.3:
        question = question.lower().rstrip("?？.")
    return [question], f"{a} {shown(op)} {b} = {result}"


def story(rng, lang):
    a, b = rng.randint(1, 12), rng.randint(1, 12)
    less = rng.random() < 0.5
    if less and a < b:
        a, b = b, a
    result = a - b if less else a + b
    if lang == "en":
        who, what = rng.choice(["I", "Tom", "Anna", "We"]), rng.choice(["apples", "books", "coins", "eggs"])
        verb = "has" if who in ("Tom", "Anna") else "have"
        question = f"{who} {verb} {a} {what} and {'lose' if less else 'get'} {b}{'' if less else ' more'}. How many {what} are left?" if less else \
            f"{who} {verb} {a} {what} and get {b} more. How many {what} in all?"
    else:
        what = rng.choice(["苹果", "书", "硬币", "鸡蛋"])
        question = f"我有 {a} 个{what}，丢了 {b} 个，还剩几个？" if less else f"我有 {a} 个{what}，又得到 {b} 个，一共几个？"
    return [question], f"{a} {'-' if less else '+'} {b} = {result}"


def fact(rng, lang):
    """(question, answer) from the tables."""
    en = lang == "en"
    kind = rng.choices(["capital", "colour", "opposite", "day", "month", "word", "legs", "count"], [4, 3, 4, 4, 2, 3, 2, 3])[0]
    if kind == "capital":
        c, k, zc, zk = rng.choice(E.CAPITALS)
        if en:
            return rng.choice([f"What is the capital of {c}?", f"Which city is the capital of {c}?", f"capital of {c}?", f"Name the capital of {c}.",
                               f"Do you know the capital of {c}?", f"What is {c}'s capital?", f"tell me the capital city of {c}"]), f"The capital of {c} is {k}."
        return rng.choice([f"{zc}的首都是哪里？", f"{zc}首都是什么？", f"{zc}的首都", f"{zc}的首都是哪个城市？", f"哪个城市是{zc}的首都？", f"你知道{zc}的首都吗？"]), f"{zc}的首都是{zk}。"
    if kind == "colour":
        t, k, zt, zk = rng.choice(E.COLOURS)
        if en:
            return rng.choice([f"What colour is {t}?", f"What color is {t}?", f"which colour does {t} have?", f"Tell me the color of {t}.",
                               f"the colour of {t}?", f"what is the color of {t}"]), f"{t.capitalize()} is {k}."
        return rng.choice([f"{zt}是什么颜色？", f"{zt}什么颜色", f"{zt}的颜色是什么？", f"说说{zt}的颜色"]), f"{zt}是{zk}的。"
    if kind == "opposite":
        a, b, za, zb = rng.choice(E.OPPOSITES)
        if rng.random() < 0.5:
            a, b, za, zb = b, a, zb, za
        if en:
            return rng.choice([f"What is the opposite of {a}?", f"opposite of {a}?", f"What's the opposite of '{a}'?", f"Which word means the opposite of {a}?",
                               f"give me the antonym of {a}", f"What is the contrary of {a}?", f"tell me the opposite of the word {a}"]), f"The opposite of {a} is {b}."
        return rng.choice([f"{za}的反义词是什么？", f"“{za}”的反义词", f"和{za}相反的词是什么？", f"{za}的反面是什么？", f"说出{za}的反义词"]), f"{za}的反义词是{zb}。"
    if kind in ("day", "month"):
        table = E.DAYS if kind == "day" else E.MONTHS
        i = rng.randrange(len(table))
        after = rng.random() < 0.6
        j = (i + 1) % len(table) if after else (i - 1) % len(table)
        if en:
            word = "after" if after else "before"
            return rng.choice([f"Which {kind} comes {word} {table[i][0]}?", f"What {kind} is {word} {table[i][0]}?", f"what comes {word} {table[i][0]}?",
                               f"the {kind} {word} {table[i][0]}?", f"name the {kind} {word} {table[i][0]}"]), \
                f"{table[j][0]} comes {word} {table[i][0]}."
        word = "后面" if after else "前面"
        return rng.choice([f"{table[i][1]}{word}是什么？", f"{table[i][1]}{'之后' if after else '之前'}是{'星期几' if kind == 'day' else '几月'}？",
                           f"{table[i][1]}的{'下' if after else '上'}一{'天' if kind == 'day' else '个月'}是什么？"]), f"{table[i][1]}{word}是{table[j][1]}。"
    if kind == "word":
        e, z = rng.choice(E.WORDS)
        if en:
            return rng.choice([f"How do you say {e} in Chinese?", f"What is '{e}' in Chinese?", f"translate {e} to Chinese", f"Chinese word for {e}?",
                               f"what is the Chinese for {e}?"]), f"{e.capitalize()} is {z} in Chinese."
        return rng.choice([f"{z}用英语怎么说？", f"{z}的英文是什么？", f"把{z}翻译成英语", f"“{z}”英语怎么讲？"]), f"{z}的英语是 {e}。"
    if kind == "legs":
        e, n, z = rng.choice(E.LEGS)
        if en:
            return rng.choice([f"How many legs does {e} have?", f"how many legs has {e}?", f"number of legs of {e}?"]), f"{e.capitalize()} has {n} legs."
        return rng.choice([f"{z}有几条腿？", f"{z}几条腿", f"{z}有多少条腿？"]), f"{z}有 {n} 条腿。"
    n = rng.randint(3, 12)
    if en:
        return rng.choice([f"Count to {n}.", f"count from 1 to {n}", f"Please count to {n}", f"Can you count up to {n}?"]), ", ".join(map(str, range(1, n + 1)))
    return rng.choice([f"数到 {n}", f"从 1 数到 {n}", f"请数到{n}", f"你能数到 {n} 吗？"]), "，".join(map(str, range(1, n + 1)))


def reasoning(rng, lang):
    """A sum with its reasoning: (question, thought, answer)."""
    a, op, b, result = pick_sum(rng)
    question = rng.choice(SUM[lang]).format(sum_text(rng, a, op, b, lang))
    if op == "+" and a % 10 + b % 10 >= 10 and a % 10 and b >= 10 - a % 10:
        step = 10 - a % 10
        thought = f"{a} + {step} = {a + step}, {a + step} + {b - step} = {result}."
    elif op == "*" and a > 1 and b > 1:
        thought = f"{a} × {b - 1} = {a * (b - 1)}, {a * (b - 1)} + {a} = {result}."
    else:
        thought = f"{a} {shown(op)} {b} = {result}."
    thought = ("I need to compute " if lang == "en" else "要计算 ") + f"{a} {shown(op)} {b}. " + thought
    return question, thought, f"{a} {shown(op)} {b} = {result}"


def number_turns(rng, lang):
    """A second question that refers to the result of the first."""
    a, b, c = rng.randint(1, 12), rng.randint(1, 12), rng.randint(1, 9)
    first = rng.choice(SUM[lang]).format(f"{a} + {b}")
    op = rng.choice("+-") if a + b >= c else "+"
    result = a + b + c if op == "+" else a + b - c
    if lang == "en":
        verb = {"+": [f"Add {c}.", f"and plus {c}?", f"now add {c} to it", f"Add {c} to that."],
                "-": [f"Subtract {c}.", f"and minus {c}?", f"now take away {c}", f"Take {c} from that."]}[op]
    else:
        verb = {"+": [f"再加 {c}", f"加上 {c} 呢？", f"然后加 {c}"], "-": [f"再减 {c}", f"减去 {c} 呢？", f"然后减 {c}"]}[op]
    return [first, f"{a} + {b} = {a + b}", rng.choice(verb)], f"{a + b} {op} {c} = {result}"


def name_turns(rng, lang):
    """The user's name, asked for again."""
    if lang == "en":
        name = rng.choice(E.NAMES)
        return [rng.choice([f"My name is {name}.", f"I am {name}.", f"hi, I'm {name}", f"Hello, my name is {name}", f"call me {name}"]), f"Hello, {name}!",
                rng.choice(["What is my name?", "what's my name?", "Do you remember my name?", "who am I?", "say my name"])], f"Your name is {name}."
    name = rng.choice(E.NAMES_ZH)
    return [rng.choice([f"我叫{name}。", f"我是{name}", f"你好，我叫{name}", f"我的名字是{name}"]), f"你好，{name}！",
            rng.choice(["我叫什么名字？", "你记得我的名字吗？", "我是谁？", "我叫什么？"])], f"你叫{name}。"


def name_hello(rng, lang):
    turns, _ = name_turns(rng, lang)
    return turns[:1], turns[1]


def capital_turns(rng, lang):
    """"And of Spain?" after a question about a capital."""
    (c, k, zc, zk), (d, m, zd, zm) = rng.sample(E.CAPITALS, 2)
    if lang == "en":
        return [f"What is the capital of {c}?", f"The capital of {c} is {k}.", rng.choice([f"And of {d}?", f"and {d}?", f"what about {d}?", f"And the one of {d}?"])], \
            f"The capital of {d} is {m}."
    return [f"{zc}的首都是哪里？", f"{zc}的首都是{zk}。", rng.choice([f"{zd}呢？", f"那{zd}呢？", f"{zd}的呢？"])], f"{zd}的首都是{zm}。"


def tool_list(rng, lang):
    def make(name, description, **parameters):
        properties = {key: {"type": kind} for key, kind in parameters.items()}
        return {"type": "function", "function": {"name": name, "description": description, "parameters": {
            "type": "object", "properties": properties, "required": list(properties)}}}
    return {"get_weather": make("get_weather", "Current weather of a city.", city="string"),
            "add": make("add", "Adds two numbers.", a="number", b="number"),
            "get_time": make("get_time", "Local time of a city.", city="string"),
            "read_file": make("read_file", "Reads a text file.", path="string")}


def tool(rng, lang):
    """A request that needs a tool, or the answer after its result."""
    every = tool_list(rng, lang)
    name = rng.choice(list(every))
    chosen = [every[key] for key in rng.sample(list(every), rng.randint(1, 2)) if key != name] + [every[name]]
    rng.shuffle(chosen)
    city, zcity = rng.choice(E.CITIES)
    a, b, path = rng.randint(1, 99), rng.randint(1, 99), rng.choice(["notes.txt", "todo.txt", "README.md", "data.csv", "log.txt"])
    place = city if lang == "en" else zcity
    asks = {"get_weather": {"en": ["What is the weather in {}?", "How is the weather in {} today?", "weather in {}", "Is it raining in {}?"],
                            "zh": ["{}的天气怎么样？", "{}今天天气如何？", "查一下{}的天气"]},
            "get_time": {"en": ["What time is it in {}?", "time in {}?", "Tell me the time in {}."], "zh": ["{}现在几点？", "{}的时间是几点？", "查一下{}的时间"]},
            "read_file": {"en": ["Read {}.", "What is in {}?", "open the file {}", "Show me {}"], "zh": ["读取 {}", "{} 里有什么？", "打开文件 {}"]},
            "add": {"en": ["What is {} + {}?", "Add {} and {}.", "{} plus {}"], "zh": ["{} + {} 等于多少？", "{} 加 {}", "把 {} 和 {} 相加"]}}[name][lang]
    values = {"get_weather": [place], "get_time": [place], "read_file": [path], "add": [a, b]}[name]
    arguments = {"get_weather": {"city": place}, "get_time": {"city": place}, "read_file": {"path": path}, "add": {"a": a, "b": b}}[name]
    question = dress(rng, rng.choice(asks).format(*values), "x")
    messages = [{"role": "user", "content": question}]
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": name, "arguments": arguments}}]}
    if rng.random() < 0.55:
        return messages + [call], chosen
    degrees, kind = rng.randint(-5, 35), rng.choice([("sunny", "晴"), ("rainy", "有雨"), ("cloudy", "多云"), ("windy", "有风")])
    hour = f"{rng.randint(0, 23)}:{rng.randint(0, 59):02d}"
    line = rng.choice([("Buy milk.", ), ("hello world", ), ("call Anna", ), ("all tests passed", )])[0]
    result = {"get_weather": json.dumps({"temperature": degrees, "sky": kind[0]}), "get_time": hour, "read_file": line, "add": str(a + b)}[name]
    answer = {"en": {"get_weather": f"In {place} it is {kind[0]}, {degrees} degrees.", "get_time": f"In {place} it is {hour}.",
                     "read_file": f"{path} says: {line}", "add": f"{a} + {b} = {a + b}"},
              "zh": {"get_weather": f"{place}{kind[1]}，{degrees} 度。", "get_time": f"{place}现在是 {hour}。",
                     "read_file": f"{path} 的内容是：{line}", "add": f"{a} + {b} = {a + b}"}}[lang][name]
    return messages + [call, {"role": "tool", "content": result}, {"role": "assistant", "content": answer}], chosen


def as_json(rng, lang):
    """A request for a JSON answer."""
    kind = rng.choice(["sum", "capital", "person"])
    if kind == "sum":
        a, op, b, result = pick_sum(rng)
        what, answer = f"{a} {shown(op)} {b}", {"result": result}
    elif kind == "capital":
        c, k, zc, zk = rng.choice(E.CAPITALS)
        what, answer = (f"the capital of {c}", {"country": c, "capital": k}) if lang == "en" else (f"{zc}的首都", {"country": zc, "capital": zk})
    else:
        name, age = rng.choice(E.NAMES if lang == "en" else E.NAMES_ZH), rng.randint(5, 80)
        what, answer = (f"{name} is {age} years old", {"name": name, "age": age}) if lang == "en" else (f"{name}今年 {age} 岁", {"name": name, "age": age})
    frame = {"en": ["Answer in JSON: {}.", "{} as JSON please", "Give me {} as JSON.", "Return JSON for: {}", "{}, in JSON", "JSON only: {}"],
             "zh": ["用 JSON 回答：{}", "{}，用 JSON", "请以 JSON 给出：{}", "只输出 JSON：{}", "把“{}”写成 JSON"]}[lang]
    return [rng.choice(frame).format(what)], json.dumps(answer, ensure_ascii=False)
