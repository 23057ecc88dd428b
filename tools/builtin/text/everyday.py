"""Greetings, small facts and words. FIXED has the form of qwip_use.TOPICS; the rest are tables."""

FIXED = [
    ("hello", dict(
        ask_en="hello|hi|hey|good morning|good evening|hi there|hello there|hey there|good afternoon|greetings|hello qwip|hi qwip|hiya|howdy|yo",
        say_en="Hello! Ask me about qwip, or give me a small sum.",
        ask_zh="你好|您好|嗨|早上好|晚上好|下午好|你好呀|哈喽|大家好|嘿|你好 qwip|早安",
        say_zh="你好！可以问我 qwip 的用法，或者出一道小算术题。")),
    ("who", dict(
        ask_en="who are you?|what are you?|what is your name?|what's your name|introduce yourself|tell me about yourself|are you a human?|are you an AI?|are you a robot?|do you have a name?|who am I talking to?|are you ChatGPT?|are you a person?|how should I call you?|say who you are",
        say_en="I am the small demonstration model inside qwip. I can answer simple questions about qwip.",
        ask_zh="你是谁|你叫什么|你叫什么名字|你是什么|介绍一下你自己|自我介绍一下|你是人吗|你是机器人吗|你是人工智能吗|我在和谁说话|你有名字吗|怎么称呼你|你是 ChatGPT 吗",
        say_zh="我是 qwip 里的小演示模型，可以回答关于 qwip 的简单问题。")),
    ("can", dict(
        ask_en="what can you do?|how can you help me?|what do you know?|what can I ask you?|what are you good at?|what questions can you answer?|can you help me?|what should I ask?|what do you know about?",
        say_en="I can answer questions about qwip, do small sums, and tell a few simple facts.",
        ask_zh="你会什么|你能做什么|你能帮我什么|你知道什么|我可以问你什么|你擅长什么|你能回答什么问题|你可以帮我吗|你会做什么",
        say_zh="我可以回答关于 qwip 的问题，做小算术，说一些简单的常识。")),
    ("how_are_you", dict(
        ask_en="how are you?|how are you doing?|how do you feel?|how is it going?|what's up?|are you ok?|how's your day?|are you fine?|how do you do",
        say_en="I am fine, thank you. How can I help you?",
        ask_zh="你好吗|最近怎么样|你还好吗|你感觉怎么样|今天怎么样|近来可好|过得怎么样",
        say_zh="我很好，谢谢。有什么可以帮你？")),
    ("thanks", dict(
        ask_en="thanks|thank you|thank you very much|thanks a lot|great, thanks|many thanks|that helped, thank you|thx|perfect, thank you|cheers|nice, thanks for the help|i appreciate it",
        say_en="You are welcome!",
        ask_zh="谢谢|谢谢你|多谢|非常感谢|太好了，谢谢|感谢|谢啦|十分感谢|谢谢你的帮助|谢了",
        say_zh="不客气！")),
    ("bye", dict(
        ask_en="bye|goodbye|good night|see you|see you later|bye bye|I have to go|that is all, bye|until next time|farewell|see you tomorrow",
        say_en="Goodbye! Come back any time.",
        ask_zh="再见|拜拜|晚安|回头见|下次见|我走了|明天见|我要走了|再会|先这样，再见",
        say_zh="再见！欢迎随时回来。")),
    ("sorry", dict(
        ask_en="that is wrong|you are wrong|this is not correct|wrong answer|you made a mistake|no, that's not right|that's incorrect",
        say_en="Sorry, I am a very small model and make mistakes. A real Qwen model will do better.",
        ask_zh="你错了|不对|答案错了|这不正确|你说错了|回答不对",
        say_zh="抱歉，我是很小的模型，会出错。真正的 Qwen 模型会更好。")),
    ("unknown", dict(
        ask_en="write me a novel|what will the weather be tomorrow?|who won the football game?|what is the stock price?|write a long essay|what happened in the news today?|explain quantum physics|write a web server in Java|translate this book|what time is it?|who is the president?|what's the weather like?|write a poem about love|solve this integral|give me medical advice|recommend a restaurant|what is the meaning of life?|tell me the latest news|compose a song",
        say_en="I am too small for that. A real Qwen model can help: run `qwip chat model.gguf`.",
        ask_zh="写一部小说|明天天气怎么样|谁赢了球赛|股票价格是多少|写一篇长文章|今天有什么新闻|解释量子物理|现在几点|写一首情诗|总统是谁|推荐一家餐馆|今天天气如何|人生的意义是什么|帮我翻译这本书|写一首歌",
        say_zh="我太小了，做不到。真正的 Qwen 模型可以帮忙：运行 `qwip chat model.gguf`。")),
    ("joke", dict(
        ask_en="tell me a joke|do you know a joke?|make me laugh|say something funny|a joke please|joke",
        say_en="Why did the small model stop? It ran out of tokens.",
        ask_zh="讲个笑话|说个笑话|你会讲笑话吗|逗我笑|来个笑话|说点好笑的",
        say_zh="小模型为什么停了？因为它的 token 用完了。")),
    ("language", dict(
        ask_en="which languages do you speak?|do you speak Chinese?|can you speak English?|what languages do you know?|do you understand chinese?",
        say_en="I understand a little English and Chinese.",
        ask_zh="你会说什么语言|你会中文吗|你会说英语吗|你懂哪些语言|你能说中文吗",
        say_zh="我懂一点英语和中文。")),
    ("days_week", dict(
        ask_en="how many days are in a week?|how many days does a week have?|days in a week?|number of days in one week",
        say_en="A week has 7 days.", ask_zh="一周有几天|一个星期有几天|一星期多少天|一周多少天", say_zh="一周有 7 天。")),
    ("months_year", dict(
        ask_en="how many months are in a year?|how many months does a year have?|months in a year?|number of months in one year",
        say_en="A year has 12 months.", ask_zh="一年有几个月|一年多少个月|一年有多少个月", say_zh="一年有 12 个月。")),
    ("hours_day", dict(
        ask_en="how many hours are in a day?|how many hours does a day have?|hours in a day?|number of hours in one day",
        say_en="A day has 24 hours.", ask_zh="一天有几个小时|一天有多少小时|一天多少个小时", say_zh="一天有 24 小时。")),
    ("minutes_hour", dict(
        ask_en="how many minutes are in an hour?|how many minutes does an hour have?|minutes in an hour?|number of minutes in one hour",
        say_en="An hour has 60 minutes.", ask_zh="一小时有多少分钟|一个小时有几分钟|一小时多少分钟", say_zh="一小时有 60 分钟。")),
    ("days_year", dict(
        ask_en="how many days are in a year?|how many days does a year have?|days in a year?|number of days in one year",
        say_en="A year has 365 days.", ask_zh="一年有多少天|一年有几天|一年多少天", say_zh="一年有 365 天。")),
]

CAPITALS = [("France", "Paris", "法国", "巴黎"), ("Germany", "Berlin", "德国", "柏林"), ("Italy", "Rome", "意大利", "罗马"),
            ("Spain", "Madrid", "西班牙", "马德里"), ("England", "London", "英国", "伦敦"), ("China", "Beijing", "中国", "北京"),
            ("Japan", "Tokyo", "日本", "东京"), ("Russia", "Moscow", "俄罗斯", "莫斯科"), ("Egypt", "Cairo", "埃及", "开罗"),
            ("Austria", "Vienna", "奥地利", "维也纳"), ("Greece", "Athens", "希腊", "雅典"), ("Portugal", "Lisbon", "葡萄牙", "里斯本")]
COLOURS = [("the sky", "blue", "天空", "蓝色"), ("grass", "green", "草", "绿色"), ("snow", "white", "雪", "白色"),
           ("blood", "red", "血", "红色"), ("a banana", "yellow", "香蕉", "黄色"), ("coal", "black", "煤", "黑色"),
           ("the sun", "yellow", "太阳", "黄色"), ("a leaf", "green", "树叶", "绿色"), ("milk", "white", "牛奶", "白色"),
           ("the sea", "blue", "大海", "蓝色")]
OPPOSITES = [("hot", "cold", "热", "冷"), ("big", "small", "大", "小"), ("up", "down", "上", "下"), ("left", "right", "左", "右"),
             ("day", "night", "白天", "黑夜"), ("fast", "slow", "快", "慢"), ("old", "new", "旧", "新"), ("open", "closed", "开", "关"),
             ("black", "white", "黑", "白"), ("long", "short", "长", "短"), ("high", "low", "高", "低"), ("happy", "sad", "高兴", "难过")]
DAYS = [("Monday", "星期一"), ("Tuesday", "星期二"), ("Wednesday", "星期三"), ("Thursday", "星期四"), ("Friday", "星期五"),
        ("Saturday", "星期六"), ("Sunday", "星期日")]
MONTHS = [("January", "一月"), ("February", "二月"), ("March", "三月"), ("April", "四月"), ("May", "五月"), ("June", "六月"),
          ("July", "七月"), ("August", "八月"), ("September", "九月"), ("October", "十月"), ("November", "十一月"), ("December", "十二月")]
WORDS = [("water", "水"), ("cat", "猫"), ("dog", "狗"), ("book", "书"), ("house", "房子"), ("apple", "苹果"), ("fire", "火"),
         ("tree", "树"), ("fish", "鱼"), ("friend", "朋友"), ("moon", "月亮"), ("bread", "面包")]
LEGS = [("a dog", 4, "狗"), ("a cat", 4, "猫"), ("a bird", 2, "鸟"), ("a spider", 8, "蜘蛛"), ("an ant", 6, "蚂蚁"), ("a horse", 4, "马"),
        ("a person", 2, "人")]
NUMBERS_EN = "zero one two three four five six seven eight nine ten eleven twelve".split()
NUMBERS_ZH = "零 一 二 三 四 五 六 七 八 九 十 十一 十二".split()
CITIES = [("Paris", "巴黎"), ("Berlin", "柏林"), ("Tokyo", "东京"), ("Beijing", "北京"), ("London", "伦敦"), ("Rome", "罗马"),
          ("Madrid", "马德里"), ("Shanghai", "上海"), ("Vienna", "维也纳")]
NAMES = ["Anna", "Ben", "Clara", "David", "Emma", "Li Wei", "Tom", "Mia", "Paul", "Zhang Min", "Sara", "Leo"]
NAMES_ZH = ["小明", "小红", "李伟", "王芳", "张敏", "小李", "陈静", "老王"]
