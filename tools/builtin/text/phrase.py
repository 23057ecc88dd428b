"""Turns a topic into many ways of asking for it."""

import random
import re

DO_EN = ["How do I {}?", "How can I {}?", "how to {}", "How do you {}?", "What is the command to {}?", "I want to {}.",
         "Which command do I use to {}?", "Show me how to {}.", "Please explain how to {}.", "i need to {}", "Is there a way to {}?",
         "Can I {}?", "Can qwip {}?", "What should I do to {}?", "Tell me how to {}.", "I would like to {}. What do I type?",
         "What do I type to {}?", "How does one {} with qwip?", "{}?", "I am trying to {}", "Is it possible to {}?", "{} how?",
         "Could you help me {}?", "What's the best way to {}?", "let me {}", "How would I go about this: I have to {}?",
         "I'd like to {}, how?", "Which of the commands lets me {}?", "Explain to me how I {}.", "Is there an option to {}?", "I have to {}, what now?",
         "Any idea how to {}?", "what do I need to {}", "I try to {} but do not know how"]
IT_EN = ["What is {}?", "What's {}?", "Explain {}.", "Tell me about {}.", "What does {} mean?", "{}?", "{}", "Define {}.",
         "Can you explain {}?", "I don't understand {}.", "what is {} in simple words", "What is meant by {}?", "describe {}",
         "Give me a short explanation of {}.", "I have heard of {}. What is it?", "what is {} for?", "Please tell me what {} is.",
         "I want to know about {}", "what exactly is {}", "info about {}", "Could you explain {} to me?",
         "what does one need {} for?", "What is the meaning of {}?", "I'd like to know what {} is", "what is {} good for?", "can you define {}"]
DO_ZH = ["怎么{}？", "如何{}？", "怎样{}？", "我想{}", "怎么才能{}？", "请问怎么{}？", "{}用什么命令？", "可以{}吗？", "能不能{}？",
         "告诉我怎么{}", "我要{}，该怎么做？", "{}的命令是什么？", "{}", "qwip 怎么{}？", "有办法{}吗？", "我需要{}", "用 qwip 如何{}？",
         "教我{}", "{}应该怎么做？", "想{}，输入什么？", "{}的方法是什么？", "{}怎么弄？", "我想{}，要输入什么命令？",
         "请问{}用哪个命令？", "{}用哪个选项？", "怎么样{}？", "{}，怎么做？", "要怎么{}？", "我希望{}"]
IT_ZH = ["{}是什么？", "什么是{}？", "解释一下{}", "{}是什么意思？", "介绍一下{}", "{}", "{}？", "我不懂{}", "说说{}", "请解释{}。",
         "告诉我什么是{}", "能解释一下{}吗？", "{}指的是什么？", "简单说明{}", "{}有什么用？", "我想了解{}", "听说过{}，是什么？", "{}是啥", "请问{}指什么？", "{}的作用是什么？",
         "什么叫{}？", "请说明一下{}", "{}是怎么回事？", "{}是一种什么？"]
LEAD_EN = ["Please tell me: ", "Hi, ", "Hey, ", "Quick question: ", "Hello! ", "One question: ", "Sorry, ", "Tell me, ", "I wonder, ",
           "ok, ", "so ", "and ", "well, ", "um, ", "I am new here. ", "Hi qwip, ", "I have a file model.gguf. ", "I use qwip since yesterday. ",
           "I have a question: ", "Can you help me? ", "My laptop is old. ", "Next question: ", "Good morning, ", "May I ask: "]
TAIL_EN = [" please", " Thanks.", " with qwip", " in qwip", " here", " exactly", " I am a beginner.", " thank you", " on my computer", " then"]
LEAD_ZH = ["请问，", "你好，", "问一下，", "那么", "请告诉我，", "我想知道，", "嗨，", "我是新手，", "麻烦问一下，", "想请教一下，", "我刚开始用 qwip。", "我有一个问题：", "我有一个 gguf 文件。",
           "下一个问题：", "能告诉我吗，", "早上好，", "老师，"]
TAIL_ZH = ["谢谢", "呢", "啊", "，谢谢", "，请说明"]

SWAP_EN = [["how do I", "how can I", "how to", "how should I", "how do you"], ["show", "display", "print", "list"], ["choose", "pick", "select"],
           ["set", "change", "adjust", "specify", "configure"], ["flag", "option", "parameter", "switch", "setting", "argument"],
           ["answer", "reply", "response", "output"], ["machine", "computer", "pc", "laptop", "system"], ["fast", "quick", "speedy"],
           ["make", "create", "produce", "build", "generate"], ["big", "large"], ["supported", "available", "possible"],
           ["which", "what"], ["get", "obtain", "receive"], ["use", "work with", "try"], ["stop", "interrupt", "halt", "cancel"],
           ["need", "require"], ["a model", "my model", "the model", "a language model"], ["look at", "see", "view", "check", "inspect"],
           ["limit", "restrict", "cap"], ["reduce", "lower", "decrease", "cut"], ["turn off", "switch off", "disable", "deactivate"],
           ["turn on", "switch on", "enable", "activate"], ["download", "fetch", "grab"], ["find out", "know", "learn"],
           ["convert", "turn", "transform"], ["random", "unpredictable"], ["does qwip", "does it", "does this program"],
           ["is there", "do you have", "does it have"], ["program", "tool", "software", "application", "app"], ["memory", "RAM"], ["measure", "test", "determine"], ["text", "sentence", "string"], ["explain", "describe", "clarify"]]
SWAP_ZH = [["怎么", "如何", "怎样"], ["选项", "参数", "开关", "标志"], ["回答", "答案", "回复", "输出"], ["电脑", "机器", "计算机"],
           ["设置", "调整", "指定", "设定", "修改"], ["查看", "看", "显示", "检查"], ["是什么", "是啥"], ["有什么用", "是干什么的", "的作用是什么", "有啥用"],
           ["哪些", "什么"], ["文字", "文本"], ["多大", "有多大", "大小是多少"], ["关闭", "关掉", "禁用"],
           ["打开", "开启", "启用"], ["选择", "挑选", "选"], ["得到", "获得", "拿到"], ["减少", "降低", "减小"], ["限制", "控制"], ["速度", "快慢"],
           ["多少", "几个"], ["运行", "跑", "执行"], ["软件", "程序", "工具"], ["聊天", "对话"], ["生成", "产生"], ["为什么", "为何", "为啥"]]


def split(text):
    return [part.strip() for part in text.split("|") if part.strip()]


def swap(rng, text, groups, rate, words):
    """Replaces some words by others that mean the same here."""
    for group in groups:
        for word in group:
            if rng.random() < rate and word in text:
                other = rng.choice(group)
                if words:
                    text = re.sub(r"(?<![\w-])" + re.escape(word) + r"(?![\w-])", other, text, count=1)
                else:
                    text = text.replace(word, other, 1)
                break
    return text


def typo(rng, text):
    words = text.split(" ")
    places = [i for i, word in enumerate(words) if word.isalpha() and len(word) > 4]
    if not places:
        return text
    i = rng.choice(places)
    word, at = words[i], rng.randrange(1, len(words[i]) - 1)
    words[i] = word[:at] + word[at + 1:] if rng.random() < 0.5 else word[:at] + word[at + 1] + word[at] + word[at + 2:]
    return " ".join(words)


def dress(rng, text, lang):
    """Varies the form of a question: politeness, case, punctuation, now and then a typing error."""
    lead, tail, groups = (LEAD_EN, TAIL_EN, SWAP_EN) if lang == "en" else (LEAD_ZH, TAIL_ZH, SWAP_ZH)
    text = swap(rng, text, groups, 0.18, lang == "en")
    if rng.random() < 0.15:
        text = rng.choice(lead) + (text[0].lower() + text[1:] if not text.startswith(("I ", "GGUF", "QWIP")) else text)
    if rng.random() < 0.10:
        body, end = (text[:-1], text[-1]) if text[-1] in "?.？。!" else (text, "")
        text = body + rng.choice(tail) + end
    if rng.random() < 0.35 and text[-1] in "?.？。":
        text = text[:-1]
    elif rng.random() < 0.3 and text[-1] not in "?.？。!":
        text += "?" if lang == "en" else "？"
    case = rng.random()
    if lang == "en" and case < 0.35:
        text = text.lower()
    elif lang == "en" and case < 0.75:
        text = text[0].upper() + text[1:]
    if lang == "en" and rng.random() < 0.04:
        text = typo(rng, text)
    if lang == "zh" and rng.random() < 0.25:
        text = text.replace(" ", "")
    return text


def ask(rng, fields, lang):
    """One question about a topic."""
    kinds = [(kind, split(fields[f"{kind}_{lang}"])) for kind in ("do", "it", "ask") if f"{kind}_{lang}" in fields]
    kind, phrases = rng.choices(kinds, [{"do": 1.0, "it": 0.7, "ask": 1.6}[kind] for kind, _ in kinds])[0]
    phrase = rng.choice(phrases)
    if kind == "ask":
        return dress(rng, phrase, lang)
    frames = {"doen": DO_EN, "iten": IT_EN, "dozh": DO_ZH, "itzh": IT_ZH}[kind + lang]
    return dress(rng, rng.choice(frames).format(phrase), lang)
