"""Still more whole questions for the topics, in the words of many kinds of users. Same form as more_ways.MORE."""

FRESH = {
    "what_is_qwip": (
        "a colleague mentioned qwip, what is that?|first time I see this, what am I looking at?|what did I just install?|qwip in two words"
        "|explain this software to my grandmother|why does this program exist?|what problem does qwip solve?|what would I do with qwip?"
        "|is qwip a chatbot or something else?|my boss asks what qwip is for|can you sum up what this tool is about?|what is the idea behind qwip?"
        "|someone put qwip on my computer, what is it good for?|is it an engine to run models?|what kind of thing is this?|qwip, never heard, what's that"
        "|give me the short story of qwip|what's the point of this app?|for what do people use qwip?|I found a file named qwip, what does it do when I start it?"
        "|tell me in a line what qwip is about|is qwip something like ollama?|is qwip similar to llama.cpp?|what is the main job of this program?"
        "|what are the features of qwip?|please introduce qwip|I must write a sentence about qwip, what should it say?|what can this tool do for me?"
        "|how would you describe qwip to a student?|so this program, what is it actually?|who would need qwip, and for what?|overview of qwip please"
        "|what's qwip all about?|I opened this and have no clue what it is|is qwip an inference program?|does qwip run models or train them, what is it?"
        "|what does the name qwip refer to?",
        "同事提到 qwip，那是什么东西|第一次看到这个，它是干嘛的|我刚装的这个东西是什么|用两句话说说 qwip|这个程序为什么存在|qwip 解决什么问题|我拿 qwip 来做什么|qwip 是聊天机器人吗，还是别的|老板问 qwip 是干什么用的|能概括一下这个工具吗|有人在我电脑上装了 qwip，有什么用"
        "|它是运行模型的引擎吗|简短讲讲 qwip|人们用 qwip 做什么|qwip 和 ollama 类似吗|qwip 像 llama.cpp 吗|这个程序主要做什么|qwip 有什么特点|请介绍 qwip|要写一句话介绍 qwip，怎么写|这工具对我有什么帮助|怎么向学生介绍 qwip|谁会需要 qwip"
        "|qwip 概述|打开了这个程序但不知道它是什么|qwip 是推理程序吗"),
    "offline": (
        "I am on the train without network, can I still use it?|our office has no web access, will qwip run there?|is this cloud based?"
        "|on a boat with no signal, does it still answer?|does anything leave my computer?|who can read what I type here?|can my boss see my chat on some server?"
        "|my firewall blocks everything, is that a problem?|must I log in or have an account?|is there telemetry in qwip?|does qwip collect statistics about me?"
        "|I work with patient records, do they stay here?|pulled the network cable, will it go on?|airplane mode ok?|does the answer come from a server?"
        "|where is the computing done, here or in the cloud?|is it local only?|can I use qwip in a locked-down lab with no outside connection?|do you spy on me?"
        "|is my input logged somewhere on the web?|will you share my questions with other people?|we have an air-gapped machine, can qwip live on it?"
        "|in the mountains there is no reception, does it matter?|no wifi at grandma's house, still fine?|does qwip open any network sockets?"
        "|do I need mobile data for this?|is an API key needed?|is there an online account required?|my company forbids cloud services, may I use this?"
        "|can hackers read my prompts on the way?|what happens to the things I tell you?|will this eat my data plan?|does it check for updates over the net?"
        "|is everything processed on my laptop?|GDPR: does personal data go anywhere?|the router died, does qwip still function?",
        "在火车上没信号还能用吗|公司内网不能上网，qwip 能跑吗|这是云服务吗|有什么东西会离开我的电脑吗|谁能看到我打的字|防火墙全都封了，有影响吗|需要登录或者账号吗|qwip 有遥测吗|会收集我的信息吗|我处理病人资料，会不会外传|拔掉网线还能继续吗|飞行模式可以用吗|答案是服务器给的吗"
        "|计算是在这里还是在云端|只在本机吗|隔离网络的机器能用 qwip 吗|你会偷看我的内容吗|我的问题会分享给别人吗|山里没有信号，有关系吗|qwip 会打开网络连接吗|要用手机流量吗|需要 API 密钥吗|公司不许用云服务，能用这个吗|我告诉你的话会到哪里去|会自动联网检查更新吗"
        "|路由器坏了，qwip 还能工作吗|所有处理都在我的笔记本上吗"),
    "chat": (
        "I downloaded a gguf and want to talk to it|how can we have a back and forth with the model?|I'd love to ask several questions in a row, how do I start?"
        "|start dialogue, which command?|what do I type to begin talking?|where is the talk mode?|how do I get a prompt where I can type to the model?"
        "|can I write with the model like in a messenger?|open a session with my model please|my kid wants to talk with the computer, how do I launch it?"
        "|I want to type questions and see answers live|need interactive session|how to enter the conversation mode|what's the way to speak with qwen.gguf?"
        "|I have qwen3.gguf, let us talk with it|how does one start the chat without any file?|how to launch the chat with the small model?"
        "|is there an interactive console?|how do I keep asking follow-up questions to my model?|I want a conversation, not just one answer"
        "|dialogue with model in terminal, how|how is the chat started?|command line to chat?|what do I enter for a talk with the gguf on my disk?"
        "|ready to chat, what's the command|can I chat with it right now, and how?|my friend wants to discuss with the model, which command?"
        "|multi-turn conversation, how?|how do I get to the chat window?|which subcommand opens a conversation?|talk to model how|begin dialog with model file"
        "|how to have a long talk with a local model?|please tell me the chat command|I'd like to question the model several times|is there a chat mode?",
        "我下载了 gguf，想跟它说说话|想连续问几个问题，怎么开始|怎么和模型你一句我一句|开始谈话用哪个命令|在哪里可以打字跟模型说话|能像聊天软件那样和模型说话吗|帮我打开一次会话|孩子想和电脑说话，怎么启动|我想输入问题马上看到回答|需要交互会话|怎么进入对话模式|怎么跟 qwen.gguf 说话"
        "|我有 qwen3.gguf，想和它聊天|不带文件怎么开始聊天|有交互式的控制台吗|怎么继续追问模型|我想要对话，不只是一个回答|终端里跟模型聊要打什么|聊天从哪里开始|多轮对话怎么做|聊天窗口怎么打开|哪个子命令是对话|和本地模型长聊怎么弄|请告诉我聊天命令|准备聊天了，命令是什么|想跟硬盘上的模型谈谈"),
    "run": (
        "I want to send one thing and get back to the shell|no conversation, just one reply|how do I call the model from bash?"
        "|my cron job should ask the model something|one question one answer, how|can I give the prompt right in the command?"
        "|how do I use it without the interactive window?|run a prompt from a makefile, how?|quick one-off question to my model file"
        "|how do I have the program exit after the answer?|need single completion from command line|ask model.gguf something and leave"
        "|I'd like to put the question on the same line as the command|batch script wants an answer from the model|non-interactive mode?|what does -p mean?"
        "|how to write a prompt as an argument?|I only have one question for my gguf|how can I automate a question to the model?"
        "|how do I make the model write something once?|generate a text and finish, which command?|just execute this prompt"
        "|how do I fire a prompt without opening a session?|is there a mode for scripts?|what is the command to answer a single prompt?"
        "|my script must call the model and go on|prompt in, answer out, done: how?|can it answer one time and close?|in the shell, how to obtain a single answer?"
        "|use qwip inside a shell script|the chat is too much, I want only one reply|which subcommand takes -p?|call from python subprocess with one prompt?"
        "|how do I generate text from the terminal without a conversation?|one-liner to ask the model",
        "我想问一句就回到命令行|不要对话，只要一个回复|在 bash 里怎么调用模型|定时任务要问模型一个问题|一问一答怎么做|能把提示直接写在命令里吗|不开交互窗口怎么用|快速问模型文件一个问题|回答之后程序就退出，怎么做|在命令行生成一次文本|问完 model.gguf 就走|问题想跟命令写在同一行"
        "|批处理脚本要模型的回答|非交互模式有吗|-p 是什么意思|提示怎么作为参数写|我对 gguf 只有一个问题|怎么自动向模型提问|让模型只写一次|生成一段文字就结束用哪个命令|有适合脚本的模式吗|回答单个提示的命令是什么|脚本要调用模型然后继续|不打开会话怎么发一个提示|哪个子命令用 -p"
        "|聊天太麻烦，只要一次回答"),
    "convert": (
        "I cloned a repo from Hugging Face, now how do I get a gguf?|there is config.json and model.safetensors, what next?"
        "|my folder has a tokenizer.json and weights, how can qwip use it?|qwip refuses my safetensors folder, what must I do first?"
        "|make one file out of many safetensors|after fine-tuning I have a directory, make it usable|how do I bring a HF model into qwip?"
        "|from transformers format to qwip format, how?|I trained my own Qwen, which step makes the gguf?|turn the downloaded folder into a model file"
        "|is a Python script necessary for conversion?|checkpoint to gguf, command?|how to produce model.gguf|where do I give the output file for a conversion?"
        "|can I load a HF directory directly?|what is the importer called?|my professor gave me a checkpoint folder, how do I run it?"
        "|write a gguf in f16 from my weights|I have shards model-00001 and model-00002, how do I join them for qwip?|do you have a converter?"
        "|how to transform hf weights",
        "我克隆了 Hugging Face 的仓库，怎么得到 gguf|目录里有 config.json 和 model.safetensors，下一步呢|qwip 不认我的 safetensors 目录，先做什么|把多个 safetensors 合成一个文件|微调完得到一个目录，怎么变成能用的"
        "|怎么把 HF 模型弄进 qwip|自己训练的 Qwen 怎么变成 gguf|把下载的文件夹变成模型文件|转换必须用 Python 脚本吗|检查点到 gguf 的命令|怎么产生 model.gguf|能直接加载 HF 目录吗|老师给了一个检查点文件夹，怎么运行|有转换器吗|从我的权重写出 f16 的 gguf"),
    "quantize": (
        "my disk is almost full, how can the model take less?|I have a 16 bit checkpoint and want four bits|the weights are huge, squeeze them"
        "|how do I get a small version of my checkpoint?|command to make q4_0 from my folder|compress weights how|can the converter also make 8-bit files?"
        "|is there a tool here to lower the precision of weights?|I'd like my model at half the size|I need a lighter model file|how to write a q8_0 gguf?"
        "|store my fine-tuned model with fewer bits, how?|int4 conversion?|model does not fit on my USB stick, help|do I quantize before or during the conversion?"
        "|which command writes 4-bit weights?|small gguf from a big checkpoint, how|my team wants a q4_0 build of our checkpoint|make weights 8 bit"
        "|how do I go from safetensors to q4_0?|reduce precision of a checkpoint",
        "硬盘快满了，怎么让模型小一点|我有 16 位的检查点，想要四位|权重太大，想压一压|怎么得到检查点的小版本|从目录做出 q4_0 的命令|转换器能做 8 位文件吗|想让模型只有一半大小|需要更轻的模型文件|怎么写出 q8_0 的 gguf|用更少的位保存微调模型怎么做|U 盘放不下模型，怎么办"
        "|量化是在转换之前还是同时做|哪个命令写 4 位权重|从 safetensors 到 q4_0 怎么做|降低检查点的精度"),
    "types": (
        "which data formats may the output file have?|list of allowed --type values|what can I write after --type?|only q4_0, or are there others too?"
        "|is q5_k offered?|does convert know q4_k_m?|can I make a q6_k file?|how many quantizations does qwip offer?"
        "|I want to see all formats that convert can produce|which precisions are there?|type list please|are there 3-bit types?"
        "|--type q2_k gives an error, which ones are valid?|what's on the menu for quantization?|enumerate the formats of convert|can convert write f32?"
        "|is bf16 possible as output?|which names does --type understand?|what are my options for the weight type?|can the output be f16 or q8_0, or what else?"
        "|is int8 an option and what is it called?|give me every value of --type|my tool asks for the type, which ones exist?|options of quantization?"
        "|which weight formats come out of convert?|does qwip have k-quants?|are iq types there?|what storage types for weights do you have?"
        "|says unknown type, which are known?|is there something between 4 and 8 bits?|all possible precisions for conversion?|which bit widths can I choose from?"
        "|what choices has the --type flag?|types available for output gguf|tell me the valid types",
        "输出文件可以是哪些数据格式|--type 允许的值列表|--type 后面可以跟什么|只有 q4_0 吗，还有别的吗|有 q5_k 吗|convert 认识 q4_k_m 吗|能做 q6_k 文件吗|qwip 提供几种量化|想看 convert 能产生的所有格式|有哪些精度|给我类型列表|有 3 位的类型吗"
        "|--type q2_k 报错，哪些是有效的|能写 f32 吗|输出可以用 bf16 吗|--type 认识哪些名字|权重类型有什么选择|告诉我 --type 的每个值|量化有几种选择|有 k-quants 吗|提示类型未知，哪些是已知的|4 位和 8 位之间还有吗|转换时可用的精度有哪些|可以选哪些位数"
        "|convert 输出什么权重格式|有效的类型有哪些"),
    "which_type": (
        "I can't decide: four bits or eight bits?|what would you take for a weak notebook?|quality matters most to me, which one?"
        "|I care for speed, which quantization then?|is the smaller one good enough?|my PC has 16 GB, which type fits me?|recommend me a quantization"
        "|should I go for 4 or 8 bits?|does q8_0 give better answers than q4_0?|is it worth using q8_0?|q4_0 faster than q8_0?|what do experts take, q4_0 or q8_0?"
        "|which of the formats is the most sensible?|little RAM, which type?|good compromise between size and exactness?|when should one take q8_0?"
        "|when is q4_0 the right choice?|which one is more accurate?|I'm new, what type do I pick for convert?|type advice please|pros and cons of q4_0 and q8_0",
        "四位还是八位，拿不定主意|配置差的笔记本你会选哪个|最看重质量，选哪个|我在乎速度，用哪种量化|小的那个够好吗|我的电脑 16 GB，适合哪种类型|推荐一种量化|q8_0 的回答比 q4_0 好吗|值得用 q8_0 吗|q4_0 比 q8_0 快吗|内存少选什么类型|大小和精度怎么折中|什么时候该用 q8_0"
        "|什么时候适合 q4_0|哪种更准确"),
    "show": (
        "I got a gguf from a friend, how do I see what it is?|which model is hidden in this file?|print header of gguf"
        "|where can I read the context length a model was trained with?|I'd like to see all tensor names|how can I tell if my file is q4_0?"
        "|the file is called model.gguf, which architecture is that?|check vocab size of a file|display model information|need the key-value pairs of a gguf"
        "|how many heads has my model, can qwip tell me?|is there an inspect command?|what command lists the weights with their shapes?"
        "|examine a downloaded gguf before using it|find the author stored in the file|view hidden size of my model file|describe my gguf file with a command"
        "|file info?|I don't remember which model this file holds|how to see the chat template that is stored in my file?|dump metadata",
        "朋友给了我一个 gguf，怎么看是什么|这个文件里是哪个模型|打印 gguf 的头信息|在哪里看模型训练时的上下文长度|想看所有张量的名字|怎么判断文件是不是 q4_0|model.gguf 是什么架构，怎么查|怎么看词表大小|显示模型文件的信息用什么|要 gguf 里的键值信息|有 inspect 命令吗"
        "|哪个命令列出权重和形状|用之前想检查下载的 gguf|不记得这个文件是哪个模型了|怎么看文件信息"),
    "tokenize": (
        "how long is my prompt in tokens?|I want to know how many pieces this text makes|see how the words are cut up|numbers of the tokens for a string, how?"
        "|print ids for hello world|is there a token counter?|will my essay fit, how do I count it?|check the splitting of a Chinese sentence|encode a string to ids"
        "|which ids does my text have?|I'm debugging a prompt and need its pieces|how does qwip split the word running?|let me see the token numbers"
        "|convert words to ids with the vocabulary of a file|how to only get numbers without the text?|token count command|my text, cut in parts, which command?"
        "|how to run just the tokenizer?|does --ids print numbers only?|I have to compare tokenization with another library|tokens of a phrase, show them",
        "我的提示有多少个 token，怎么看|想知道这段文字切成几块|看看词是怎么切开的|一个字符串的 token 编号怎么得到|有 token 计数器吗|文章太长不长，怎么数|检查中文句子的切分|把字符串编码成编号|我的文字对应哪些编号|调试提示，要看切分结果|只要数字不要文字怎么做|数 token 用哪个命令"
        "|怎么单独运行分词器|--ids 只输出数字吗|想和别的库比较分词结果"),
    "logits": (
        "I want the model's scores written into an npy|how do I dump the outputs for every position?|for my thesis I need the raw numbers of the last layer"
        "|export next-token scores|verify qwip's numbers against transformers|I have a list of token ids and need scores for them"
        "|can I get float32 outputs as an array?|which command evaluates token files?|where do the unnormalized scores go?"
        "|numerical comparison with pytorch, how to get the data?|write out.npy how|get an array with one row per token"
        "|how do I check the correctness of the model's outputs?|is there an eval command?|I want to compute perplexity myself, how do I get the numbers?"
        "|raw outputs before softmax, how do I save them?|scores of all vocabulary entries to disk|what's --tokens FILE for?|extract model outputs for research"
        "|need a matrix of logits",
        "想把模型的分数写进 npy|怎么导出每个位置的输出|写论文需要最后一层的原始数字|导出下一个 token 的分数|想和 transformers 对一下数字|我有 token 编号列表，要它们的分数|能得到 float32 的输出数组吗|哪个命令计算 token 文件"
        "|和 pytorch 做数值比较，数据怎么来|怎么写出 out.npy|想自己算困惑度，数字怎么得到|softmax 之前的输出怎么保存|有 eval 命令吗|--tokens FILE 是干什么的|要一个 logits 矩阵"),
    "bench": (
        "how many words per second will this box manage?|I bought a new laptop, how quick is qwip on it?|compare two computers with numbers"
        "|prompt speed and generation speed, how to see?|I need numbers for a report about performance|is my machine any good for this model, measured in tokens?"
        "|measure throughput|time my model|which command gives tok/s?|let me see how fast model.gguf generates|get performance figures"
        "|how long does prompt processing take, can I test it?|I changed the RAM, how do I see if it got quicker?|speedometer for models?|run a performance check"
        "|how rapid is generation with my file?|do you have a benchmark?|find the best thread count by measuring, with what?"
        "|tokens each second on my PC, how to find?|my boss wants throughput numbers|t/s?",
        "这台机器每秒能出多少字|买了新笔记本，想知道 qwip 跑多快|用数字比较两台电脑|提示速度和生成速度怎么看|写报告要性能数据|测吞吐量|给模型计时|哪个命令给出 tok/s|看看 model.gguf 生成有多快|怎么拿到性能数字|换了内存，怎么看是不是快了|有跑分功能吗|做一次性能检查"
        "|想通过测量找最好的线程数，用什么|老板要吞吐量的数字"),
    "synthetic": (
        "no download possible here, but I want tok/s numbers|can I test the speed of a 7B before I download it?|make a dummy model|create a fake gguf for testing"
        "|performance check without weights on disk|I just want to know how fast a 0.5B would be, with nothing downloaded|random weights model, how do I make one?"
        "|is there a placeholder model for speed tests?|test throughput when there is no gguf around|keep the fake model as a file|what is --save for in bench?"
        "|a benchmark that needs no files|how do I generate a made-up model with true dimensions?|I don't own any weights, how do I measure?"
        "|try the speed first, download later|mock model for CI speed tests?|simulate a model for measurement|bench with invented weights"
        "|would a qwen2.5-0.5b be quick here? I have not downloaded it|test speed, no gguf at hand",
        "这里不能下载，但我想知道每秒多少 token|下载 7B 之前能先测速度吗|做一个假模型|造一个测试用的 gguf|硬盘上没有权重怎么测性能|什么都没下载，想知道 0.5B 有多快|随机权重的模型怎么做|有测速用的占位模型吗|把假模型存成文件|bench 的 --save 是干什么的|不需要文件的基准测试"
        "|怎么生成尺寸真实的假模型|我没有权重，怎么测|先测速度再下载|模拟一个模型来测量"),
    "doctor": (
        "it crashes right away, is there a check?|I suspect my processor is too old, how do I find out?|does my CPU have what qwip wants?"
        "|test whether everything computes correctly here|how to verify the installation|is my hardware all right for qwip?|run a health check"
        "|something seems broken, which command helps?|which SIMD level was detected?|how do I see whether AVX-512 is active?"
        "|is my old Xeon good enough, how to check?|self diagnosis command|support asked me for a report of my machine|how can I see which code path is taken?"
        "|verify that the fast kernels give right numbers|I got strange output, can qwip test itself?|is there a system check?|show me what my processor can do"
        "|tell me if this computer is suitable, by a command|troubleshooting command?|check up my pc",
        "一运行就崩溃，有检查的办法吗|怀疑处理器太旧，怎么查|我的 CPU 满足 qwip 的要求吗，怎么看|想测试这里计算对不对|怎么验证安装|我的硬件适合 qwip 吗，用什么检查|做个体检|好像坏了，用哪个命令|检测到哪一级 SIMD|怎么看 AVX-512 有没有启用|自我诊断的命令|客服要我机器的报告"
        "|怎么看走的是哪条代码路径|输出很奇怪，qwip 能自己测试吗|有系统检查吗"),
    "get_model": (
        "this toy is nice, but where's the real thing?|I want something smarter than you|is there a shop or site for models?|which page has the gguf files?"
        "|how do I upgrade to a larger Qwen?|can qwip pull weights from the web itself?|I installed qwip, where do the models come from?"
        "|no gguf on my disk, what's next?|need weights|you know too little, how can I swap you for a better one?|get me Qwen2.5 please"
        "|where on Hugging Face should I look, and then what?|my folder is empty, I have no model yet|how do people usually obtain the model files?"
        "|does qwip come with big models?|I would like to install Qwen3|what must I download before I can use real chat?|first steps to a proper model?"
        "|how do I replace the built-in model?|is there a qwip download command?|how do I obtain a 7B?|can I use curl or a browser to fetch the weights?"
        "|are models included in the package?|how do I get more intelligent answers?|can you give me a link to a model?"
        "|I need a proper assistant, not this small one|where to find qwen gguf|wget a model, from where?|I have only the program, not the weights"
        "|is there a model zoo?|how can I have a model that writes essays?|what do I do to have a useful model?"
        "|my boss wants a production model, where do I take it from?|acquire a larger language model for qwip|model source?",
        "这个玩具不错，但真正的模型在哪|我想要比你聪明的|有下载模型的网站吗|哪个页面有 gguf 文件|怎么升级到更大的 Qwen|qwip 能自己从网上拉权重吗|装好了 qwip，模型从哪来|硬盘上没有 gguf，接下来呢|我需要权重|你懂得太少，怎么换成更好的|想要 Qwen2.5，去哪弄"
        "|目录是空的，我还没有模型|大家一般怎么弄到模型文件|qwip 自带大模型吗|我想装 Qwen3|用真正的聊天之前要下载什么|怎么换掉内置模型|有 qwip download 命令吗|怎么弄到 7B|可以用浏览器下载权重吗|安装包里有模型吗|怎样得到更聪明的回答|需要像样的助手，不要这个小的"
        "|qwen 的 gguf 在哪里找|只有程序没有权重|哪里有能写文章的模型"),
    "threads": (
        "my fan is loud, can it use fewer cores?|I want to keep two cores free for other work|the server has 64 cores, how do I limit qwip to 16?"
        "|all CPUs are at 100 percent, reduce that|run on a single core|parallelism setting?|how many cores does it take by default?|how to make it use every core"
        "|give it half of my processor|number of workers?|qwip hogs my computer while I play music|does it know hyperthreading, and can I set the count?"
        "|can I fix the CPU usage?|in my container only 3 cpus are allowed, what to set?|use six threads|which letter sets the cores?|set parallel threads"
        "|I'd like the other programs to stay responsive|is multithreading on, and how do I change it?|cores option|what is -t 8?",
        "风扇很吵，能少用几个核吗|想留两个核给别的工作|服务器有 64 核，怎么限制到 16|CPU 全是 100%，怎么降|只在一个核上运行|并行度怎么设|默认用几个核|怎么用上每一个核|只给它一半处理器|qwip 占满了电脑，怎么办|容器里只允许 3 个 CPU，怎么设|用六个线程|哪个字母是设核心数的"
        "|想让别的程序保持流畅|-t 8 是什么意思"),
    "context": (
        "it forgets what I said at the beginning|the model lost the start of our talk|my document is 20 pages, can it take it all?|how do I give it a longer memory?"
        "|says the prompt does not fit, what to set?|how far back can the model look?|maximum conversation length?|I want 32k tokens|my long prompt gets rejected"
        "|window of 16384 tokens, how?|room for more text please|what is -c 2048?|does it have a limit on how much it reads?"
        "|after many turns the chat is full, what can I do?|how big is the window of the model?|where do I set n_ctx?|need to paste a whole chapter"
        "|can I make its memory of the conversation bigger?|is the number of tokens it looks at adjustable?|what's the limit of the conversation?"
        "|the chat says the context is full|I need the model to see a long report at once|which flag for long texts?|raise the token window"
        "|shrink the window to 512 tokens|how many tokens back does it remember?|long contexts, how do I request them?|context too small|extend how much it can read"
        "|my prompts are long, what should I change?|how much of our talk do you keep in view?|does -c count tokens or words?|set ctx"
        "|it can't recall the first message any more|how is the size of the visible history set?",
        "它忘了我开头说的话|模型丢了前面的对话|我的文档有 20 页，能全放进去吗|怎么给它更长的记忆|提示说放不下，该设什么|模型能往回看多远|对话最长多长|我要 32k token|很长的提示被拒绝了|窗口要 16384 个 token 怎么设|想放更多文字|-c 2048 是什么意思|它一次读多少有限制吗"
        "|聊了很多轮满了怎么办|模型的窗口有多大|n_ctx 在哪里设|要粘贴一整章|能让它记住更多对话吗|一次看的 token 数能调吗|聊天提示上下文满了|要让模型一次看完长报告|长文本用哪个选项|把窗口缩到 512 个 token|-c 算的是 token 还是字|它想不起第一条消息了|看到的历史有多长，怎么设"),
    "memory": (
        "I have an old PC with 4 GB, is it hopeless?|out of memory, what now?|will a 3 GB file run on a machine with 4 GB?|how heavy is it on my RAM?"
        "|the process is killed because the memory ran out|what RAM should I buy?|does the whole file sit in RAM?|can I run it on a small virtual machine with 2 GB?"
        "|is the memory need bigger than the file?|RAM requirements of a model please|my computer begins to swap, need less memory|how do I work out the RAM I need?"
        "|task manager shows little memory, why is that?|does a 5 GB gguf need 5 GB of RAM?|consumption of memory while chatting?"
        "|which model can I take with 8 gigs?|how to fit the model in little memory|memory hungry or not?|is 16 gigabytes of RAM plenty?"
        "|does the model get copied when loading?|not enough RAM, what can I do?",
        "旧电脑只有 4 GB，还有希望吗|内存不足报错怎么办|3 GB 的文件在 4 GB 的机器上能跑吗|对内存压力大吗|进程因为内存用完被杀了|该买多大的内存条|整个文件都放在内存里吗|2 GB 的小虚拟机能跑吗|需要的内存比文件大吗|电脑开始用交换区，想少占内存|怎么算我需要的 RAM"
        "|5 GB 的 gguf 要 5 GB 内存吗|聊天时内存消耗多少|16 GB 内存足够吗|内存小怎么装下模型"),
    "ngen": (
        "it writes whole novels when I want two lines|cut the reply after 30 tokens|how do I set a maximum for the reply?"
        "|the answer was cut in the middle, raise the limit how?|I want at most 200 tokens out|what is -n 64?|let it write more than now|maximum output size option"
        "|stop automatically after N tokens|allow longer replies|my script needs short outputs, how do I bound them?|only evaluate the prompt, generate nothing"
        "|how many tokens will it produce at most, and how to set that?|I'd like a fixed upper bound of the output|response length setting?"
        "|how to get a ten-token answer|token budget for the reply?|keep it short automatically, by a number|what does -n 0 do?"
        "|can I restrict the amount of text it gives back?|max_tokens equivalent?",
        "只要两行，它却写一大篇|回复到 30 个 token 就截断|怎么给回复设上限|回答说到一半断了，怎么加大上限|输出最多 200 个 token|-n 64 是什么意思|让它写得比现在多|自动在 N 个 token 后停下|脚本需要短输出，怎么限定|只算提示，不生成|允许更长的回复|回复长度在哪里设"
        "|相当于 max_tokens 的选项|-n 0 会怎样|限定返回的文字量"),
    "batch": (
        "is -b important for the result?|what should I give for -b?|prompt is processed in pieces, how big are they?|chunk size of the prompt?"
        "|-b 512, what does it mean?|does a larger -b speed up long prompts?|why would anyone change -b?|size of the slices in which the prompt is read"
        "|can -b influence the text I get?|how do I make the prompt processing use less memory at a time?|batch parameter, explain|set -b to 64, how?"
        "|what's the batch for?|prompt chunking option?|will a small batch change what the model says?|n_batch equivalent?|process the prompt in smaller portions"
        "|is there a batch flag?|tune prompt processing, which flag?|bigger batch, better or not?",
        "-b 对结果重要吗|-b 应该给多少|提示分段处理，每段多大|-b 512 表示什么|-b 大一点长提示会快吗|为什么要改 -b|-b 会影响得到的文字吗|怎么让处理提示时少占内存|解释批次参数|怎么把 -b 设成 64|小批次会改变模型说的话吗|相当于 n_batch 的是哪个|提示想分小块处理"
        "|有批次选项吗|批大一点好不好"),
    "seed": (
        "every run gives me another text, I want it fixed|for my experiment the output must repeat exactly|how can I get yesterday's answer once more?"
        "|why do I get different replies to one question?|random start value, where?|I need repeatable sampling|can I set the random number generator?"
        "|what is -s 42?|--seed 1, what does that bring?|make the dice roll the same way each time|my tests need stable output with sampling on"
        "|get another variant of the answer|identical text on each call, please|does the same seed give the same answer?|which number starts the randomness?"
        "|the tutorial uses --seed 7, why?|same question, different answers, how to prevent?|seed explained|my colleague must be able to repeat my answer"
        "|fixing randomness",
        "每次运行文字都不一样，想固定下来|做实验要求输出完全重复|怎么再得到昨天的回答|同一个问题为什么回复不同|随机数的起始值在哪里设|我要可重复的采样|能设随机数发生器吗|-s 42 是什么|--seed 1 有什么效果|测试需要稳定的输出|想得到另一个版本的回答|同样的种子答案一样吗"
        "|教程里用 --seed 7，为什么|怎样避免同一个问题答案不同|每次调用都要一样的文字"),
    "temperature": (
        "the model talks nonsense, it's too wild|I want strict, factual answers, what do I turn down?|make it more adventurous|replies are dull and always alike"
        "|how do I get always the most probable word?|greedy output please|what is --temp 1.5 going to do?|for poems I want surprising words"
        "|for code I want no surprises|creativity knob?|how do I dial down the chaos?|is there a setting for how wild the text is?"
        "|deterministic choice of the best token, how?|high temperature means what?|low temp or high temp?|what's the effect of the temperature on the text?"
        "|how to switch off sampling|good temp value?|calmer answers please|degree of randomness, where is it set?|it's too random",
        "模型胡说八道，太随机了|想要严谨的回答，该调什么|让它大胆一点|回复很无聊，总是差不多|怎么总是取最可能的词|我要贪心输出|--temp 1.5 会怎样|写诗想要意外的词|写代码不要意外|创意程度在哪里调|怎么让它别那么乱|高温度意味着什么|低温好还是高温好|温度对文字有什么影响|随机程度在哪里设"),
    "top_k": (
        "choose only among the 20 best tokens, how?|limit sampling to the most likely candidates by number|what's --top-k 50?"
        "|how many candidates are considered, can I set it?|I want only the best 10 tokens to be drawn from|k in top-k is what?"
        "|cut the candidate list after k entries|restrict the choice to a fixed number of tokens|does a small top-k make the text safer?"
        "|sampling from the k best, which option?|is top-k the number of candidates?|top-k equal to 1 means?|should top-k be high or low?"
        "|top k sampling explained shortly|why would I lower top-k?|how many tokens does top-k leave?|set the candidate count to 40"
        "|I read about top-k in a paper, what's it?|keep k tokens, drop the rest, how",
        "只在最好的 20 个 token 里选，怎么设|按个数限制候选|--top-k 50 是什么|考虑多少个候选，能设吗|只想从最好的 10 个里抽|top-k 里的 k 是什么|把选择限制在固定数量的 token|top-k 小一点文字更稳吗|从 k 个最好的里采样用哪个选项|top-k 就是候选个数吗"
        "|top-k 等于 1 表示什么|top-k 该大还是小|为什么要调低 top-k|候选数设成 40"),
    "top_p": (
        "sample only from the tokens that make up 90 percent|what's --top-p 0.95?|cumulative probability limit, which option?|nucleus, what's that in sampling?"
        "|p in top-p stands for what?|cut the unlikely tail by total probability|is top-p a sum of probabilities?|should top-p be near one?"
        "|top-p 1.0 means everything?|why lower top-p?|how does the nucleus get chosen?|keep tokens up to a probability mass of 0.8|probability mass setting?"
        "|I read nucleus sampling in a paper, which flag is it?|the sum of probabilities to keep, how do I set it?|top p sampling explained shortly"
        "|which option trims by summed probability?|what effect has a small top-p?|use the 0.9 nucleus",
        "只从合起来占 90% 的 token 里采样|--top-p 0.95 是什么|累积概率的上限用哪个选项|采样里的核是什么|top-p 的 p 代表什么|top-p 是概率之和吗|top-p 应该接近 1 吗|top-p 1.0 表示全部吗|为什么要调低 top-p|保留概率总量 0.8 的 token"
        "|论文里说核采样，对应哪个选项|按概率总和截断用什么|top-p 小有什么效果|用 0.9 的核"),
    "min_p": (
        "drop tokens much less likely than the best one|what's --min-p 0.05?|threshold relative to the top token, which option?|p in min-p stands for what?"
        "|filter weak candidates by a relative threshold|is min-p relative or absolute?|min-p 0 means off?|why would I set min-p?|should min-p be large or small?"
        "|minimum probability setting?|ignore tokens below a tenth of the best|min p sampling explained shortly|lower bound for token probability, how do I set it?"
        "|how are improbable tokens thrown out with min-p?|which flag has a minimum probability?|I read about min-p, what's the idea?|relative cutoff for sampling"
        "|what effect has a high min-p?|set minimum p to 0.1",
        "去掉比最好的差很多的 token|--min-p 0.05 是什么|相对于最佳 token 的阈值用哪个选项|min-p 的 p 代表什么|min-p 是相对的还是绝对的|min-p 0 是关闭吗|为什么要设 min-p|min-p 该大还是小|最小概率怎么设|忽略低于最佳十分之一的 token"
        "|概率下限用哪个选项|听说过 min-p，是什么思路|min-p 高了有什么效果|怎么过滤太弱的候选"),
    "repeat": (
        "it's stuck in a loop|same words, same words, same words, what can be done?|the story goes in circles|my output is full of duplicates"
        "|penalize used words, which option?|the bot says one phrase ten times|it parrots itself|how to make it vary its wording"
        "|the model gets caught in an endless phrase|is there a knob for repetition?|it keeps copying the previous line|echoing the same paragraph, help"
        "|reduce duplication in generated text|what value for --repeat-penalty?|--repeat-penalty 1.1 means?|the list it writes has the same entry everywhere"
        "|discourage tokens already used|why is it going round and round?|broken record, fix?|lots of repeated words in the output",
        "它卡在循环里了|老是同样的词，有什么办法|故事在绕圈子|输出里全是重复|想惩罚用过的词，哪个选项|机器人把一句话说了十遍|怎么让它换换说法|有调节重复的选项吗|它一直抄上一行|同一段话反复写，帮忙|--repeat-penalty 设多少好|--repeat-penalty 1.1 表示什么"
        "|列表里每一项都一样|为什么它转来转去|像复读机一样，怎么办"),
    "system": (
        "the bot should behave like a doctor|I want all replies in rhyme, where do I say that?|tell it once to always answer in German|give it a personality"
        "|let the model play a character|put rules at the beginning of the chat|my company bot needs fixed instructions"
        "|how do I tell it to be brief in every answer?|set the tone of the assistant|instructions before the conversation, how?"
        "|it should call me captain all the time|make it act as a lawyer|what is -sys for?|hidden instructions for the assistant?"
        "|general rules for the model, which option?|I want it to be a strict tutor|define how the assistant should act|can I preset a role?|role play setup?"
        "|set a persona on the command line",
        "让机器人像医生一样|想让所有回答都押韵，在哪里写|一次规定它总用德语回答|给它一个性格|让模型扮演一个人物|聊天开头加规则|公司的机器人要固定指令|怎么让它每次都简短回答|设定助手的语气|对话之前的指令怎么给|让它一直叫我队长|让它当律师|-sys 是干什么的|能预设角色吗|助手该怎么做，在哪里规定"),
    "think": (
        "it writes a long monologue before the answer, get rid of it|I'd like to see how it comes to the result|Qwen3 ponders too long"
        "|answer directly without deliberating|let it work things out step by step first|where do the <think> tags come from?|hide the inner monologue"
        "|for math I want it to reason first|chain of thought on or off, how?|the model talks to itself first, why?|can I save time by leaving out its deliberation?"
        "|what does --think auto mean?|--think off, what for?|is reasoning switchable?|make Qwen3 reply at once|what's the text in the think block?"
        "|deep thinking, activate|I want no deliberation from the model|reasoning output wanted|does my model reason, and can I change that?",
        "回答前写一大段独白，想去掉|想看它怎么得出结果|Qwen3 想得太久|直接回答，不要考虑|让它先一步一步推导|<think> 标签是哪来的|隐藏内心独白|做数学题想让它先推理|思维链怎么开关|模型先自言自语，为什么|--think auto 是什么意思|--think off 干什么用|推理可以切换吗"
        "|让 Qwen3 马上回答|想要深度思考"),
    "json": (
        "my Python code should parse the reply|I want structured output for jq|the result must go into another program"
        "|how do I get the answer with its numbers in a structured form?|can the output be parsed?|my web backend reads JSON, can qwip give it?"
        "|output format for machines?|data instead of plain text, please|wrap the reply in JSON|structured result?|how do I process the answer automatically?"
        "|make qwip's result easy to read for a program|jq needs json from qwip|which flag makes run print an object?|automation needs fields, not prose"
        "|JSON from the command line?|parseable format please|is --json good for scripts?|I want to feed the answer to node.js"
        "|integrate the result in my app as json",
        "我的 Python 代码要解析回复|想要给 jq 用的结构化输出|结果要交给另一个程序|输出能被解析吗|后端读 JSON，qwip 能给吗|给机器用的输出格式|把回复包成 JSON|要结构化的结果|怎么自动处理回答|哪个选项让 run 输出对象|自动化需要字段，不要散文|命令行能出 JSON 吗"
        "|--json 适合脚本吗|把回答接到我的应用里，要 json|想要容易解析的格式"),
    "raw": (
        "continue my sentence instead of answering it|I want the model to just go on with my text|nothing should be wrapped around my prompt"
        "|I write the special tokens myself|my pretrained model is not instruction tuned|don't add im_start to my prompt|autocomplete my story beginning"
        "|leave my prompt untouched|pure continuation, how?|how to bypass ChatML?|my prompt already contains the template|let it finish the line: once upon a time"
        "|send text verbatim|no roles, no messages, only text|is there a completion mode?|foundation model without chat, how do I prompt it?|switch template off"
        "|why does it answer instead of continuing my text?|I want to hand over the exact string|what is raw good for?",
        "接着我的句子写，不要回答|只想让模型往下续写|提示外面什么都别加|特殊 token 我自己写|我的预训练模型没有指令微调|不要在提示里加 im_start|帮我续写故事开头|提示保持原样|怎么绕过 ChatML|我的提示已经带模板了|一字不差地发送文字|不要角色和消息，只要文本|有补全模式吗"
        "|为什么它回答而不是续写|把模板关了"),
    "file_stdin": (
        "my question is ten pages long, I can't type it|I wrote the prompt in notepad, how do I use it?|use the contents of notes.txt as prompt"
        "|how do I feed a document to the model?|less typing: take the text from disk|can another program send its output to qwip?"
        "|connect the output of grep with the model|the prompt comes from another command|how do I let it summarize report.txt?"
        "|read from file instead of the command line|is there an option to read a prompt file?|my prompt has many lines and quotes, the shell complains"
        "|I saved my question in question.txt|send the git diff to the model|use it at the end of a pipeline|does run accept input from stdin?|what's -f good for?"
        "|shell redirect works?|take the input from another process|give a whole text file to it|the argument list is too long for my prompt"
        "|can I redirect a file into qwip run?|load prompt from disk|multi-line prompt, how do I pass it?"
        "|a log file should be explained by the model, how do I hand it over?|prompts stored in files, possible?|my editor saves the prompt as a file, then what?"
        "|stream text in from curl?|text too big for the command line|how can the model read a file of mine?|hand over input with a pipe, syntax?"
        "|does qwip listen on standard input?|unix pipe friendly?|I have article.txt and want a summary|fill the prompt from a text document",
        "问题有十页，打不了|提示写在记事本里，怎么用|用 notes.txt 的内容做提示|怎么把文档交给模型|别的程序的输出能传给 qwip 吗|把 grep 的结果接到模型|提示来自另一个命令|想让它总结 report.txt|从文件读，不从命令行读|有读提示文件的选项吗|提示有很多行和引号，shell 报错"
        "|问题存在 question.txt 里了|把 git diff 发给模型|放在管道最后能用吗|run 接受标准输入吗|-f 有什么用|能重定向文件进去吗|把整个文本文件给它|命令行放不下我的提示|多行提示怎么传|让模型解释一个日志文件，怎么传进去|编辑器保存了提示文件，然后呢|怎么让模型读我的文件"
        "|管道的写法是什么|我有 article.txt，想要摘要|从硬盘读取提示"),
    "exit_codes": (
        "my script checks $?, what can it be?|how do I detect errors in bash after qwip?|what number is returned when the file is missing?"
        "|return status after ctrl-c?|zero means ok?|process ended with 130, why?|it returned 2, what did I do wrong?|status 1, what happened?"
        "|CI needs to know if it failed|how does qwip signal failure to the shell?|exit values please|which status means bad arguments?"
        "|what does the shell get back from qwip?|error numbers of qwip?|how is an interrupted run reported to the script?|code returned on success?"
        "|is the exit value different for usage errors?|my makefile stops with error 2 from qwip|exit with 1, meaning?|what does errorlevel say after qwip?",
        "脚本检查 $?，可能是什么值|bash 里怎么发现 qwip 出错|文件不存在时返回几|按 ctrl-c 之后的状态是多少|0 表示成功吗|进程以 130 结束，为什么|返回了 2，我哪里错了|状态 1 是怎么回事|CI 要知道有没有失败|qwip 怎么告诉 shell 失败了|参数写错返回哪个状态"
        "|shell 从 qwip 得到什么数字|qwip 的错误码|makefile 停在错误 2|用法错误的退出值不一样吗"),
    "env": (
        "I don't want to type the same flags each time|can I export my settings in .bashrc?|put options into docker environment|defaults for all my calls, where?"
        "|is there a config by env?|how are environment names formed?|set the model path once for the whole session|export something so that -t is always 4"
        "|what prefix do the variables have?|which env names exist?|in systemd I can only set variables, is that enough?|do flags have matching variables?"
        "|permanent settings through the shell?|is QWIP_ a prefix?|can I store my preferred options?|configuration without command-line flags"
        "|where do I save default values?|does it look at environment?|env instead of flags?|settings in the Dockerfile with ENV, ok?",
        "不想每次都打同样的选项|能在 .bashrc 里导出设置吗|把选项放进 docker 环境|所有调用的默认值在哪里设|环境变量的名字怎么组成|整个会话只设一次模型路径|怎么让 -t 总是 4|变量用什么前缀|systemd 里只能设变量，够吗|每个选项都有对应的变量吗|QWIP_ 是前缀吗"
        "|能保存我喜欢的选项吗|不用命令行选项怎么配置|会看环境里的设置吗|Dockerfile 里用 ENV 可以吗"),
    "isa": (
        "test the slow reference code on my fast CPU|use only avx2 even though avx512 is there|I want to compare the kernels by hand"
        "|which values choose the instruction set?|avx512 makes my CPU hot, can I avoid it?|pretend my CPU has no AVX|how do I pin the kernel choice?"
        "|force dotprod kernels|try i8mm on my ARM board|make it run without vector instructions|override the detected kernels|select avx512vnni by hand"
        "|stop qwip from picking AVX-512 by itself|what happens with QWIP_ISA empty?|QWIP_ISA=scalar, what for?|I need the plain code path for debugging"
        "|can I decide the SIMD level myself?|manual instruction set selection|env variable for kernels?|neon only, how?",
        "在快的 CPU 上测试慢的参考代码|有 avx512 也只想用 avx2|想手动比较几种内核|用什么值选择指令集|avx512 让 CPU 发热，能避开吗|假装 CPU 没有 AVX|怎么固定内核的选择|强制使用 dotprod|在 ARM 板上试 i8mm|不用向量指令运行|覆盖自动检测的内核"
        "|QWIP_ISA 留空会怎样|QWIP_ISA=scalar 干什么用|调试需要普通代码路径|能自己决定 SIMD 级别吗"),
    "kv_type": (
        "the cache eats my RAM, can it be stored with fewer bits?|long talks use much memory, make the keys and values smaller|cache precision, how is it set?"
        "|is the cache f16 or f32?|use f32 for the cache|halve the cache memory|which flag changes how keys are stored?|which flag is for the values of the cache?"
        "|8 bit keys and values, possible?|can the cache be quantized?|default type of the cache?|I want full precision in the cache|what should -ctv be?"
        "|my 32k context needs too much cache memory|-ctk q8_0, meaning?|compress the KV cache, how?|store attention cache in less space|cache in half precision?"
        "|set the cache data type|smaller kv entries please",
        "缓存太占内存，能用更少的位存吗|长对话占内存，想让键和值小一点|缓存的精度怎么设|缓存是 f16 还是 f32|缓存用 f32|缓存内存减半怎么做|哪个选项改变键的存法|缓存的值用哪个选项|键和值用 8 位可以吗|缓存能量化吗|缓存的默认类型是什么|32k 上下文的缓存太大了|-ctk q8_0 的意思"
        "|怎么压缩 KV 缓存|缓存的数据类型怎么改"),
    "mmap_off": (
        "another process rewrites my model file, is there a safe mode?|I want the file really loaded, not mapped"
        "|my network drive is unreliable, read the file completely first|loading without mmap, which flag?|put everything into memory at start"
        "|the model lies on a USB stick that I'd like to remove after loading|mapping makes trouble on my file system|switch the file mapping off"
        "|is there an option against mapped files?|copy the weights to memory at start instead|what is no-mmap good for?|I get bus errors when the file changes"
        "|don't map, read|read the model in full|avoid page faults from the file on a slow disk by reading it first|use ordinary reading rather than mapping"
        "|how do I tell qwip not to map the gguf?|NFS and mmap give problems, what can I do?|disable mapped loading|load fully into RAM instead of mapping",
        "别的进程会改模型文件，有安全的方式吗|我想真正读入文件，不要映射|网络盘不稳定，想先读完整个文件|不用 mmap 加载用哪个选项|启动时全部放进内存|模型在 U 盘上，加载后想拔掉|映射在我的文件系统上有问题|怎么关闭文件映射|有不用映射的选项吗|文件变化时出现总线错误|不要映射，要读取|把模型完整读进来"
        "|怎么告诉 qwip 不要映射 gguf|NFS 上 mmap 有问题怎么办|no-mmap 有什么好处"),
    "mlock": (
        "after a break the first answer is slow because the pages are gone|keep the weights resident|the system pages my model out|forbid the OS to evict the model"
        "|pages must stay in physical memory|lock pages, which option?|avoid paging to disk|my model gets swapped when I open the browser|nail the model into RAM"
        "|guarantee that weights stay in memory|how to hold the model in memory the whole day|swap activity during generation, stop that"
        "|don't let the kernel throw out my model|which flag locks memory?|memory locking?|resident model please|what's mlock good for?"
        "|use locked memory for the weights|prevent the weights from going to swap",
        "休息一会儿后第一个回答很慢，因为页被换掉了|让权重常驻|系统把我的模型换到硬盘了|禁止操作系统赶走模型|页必须留在物理内存|锁定内存页用哪个选项|不想换页到硬盘|打开浏览器模型就被换出|保证权重一直在内存|一整天让模型留在内存怎么做|生成时有交换，怎么避免|哪个选项锁内存|mlock 有什么好处"
        "|权重不要进交换区"),
    "stop": (
        "it's writing too much right now, which key?|how do I make it shut up?|hit the brakes|which key ends the reply?"
        "|I asked the wrong question, can I cut it off?|enough, how do I stop it in the middle?|can I abort without losing the chat?|is ctrl-c safe in the chat?"
        "|key to cancel output?|it rambles, interrupt please|does the conversation survive ctrl-c?|how to break the current reply but continue talking?"
        "|panic button?|kill the running answer|pressing control c does what?|escape from a running generation|I want to cut its answer short by hand|abort key?"
        "|quit the answer, stay in the chat|halt the writing now",
        "它现在写太多了，按哪个键|怎么让它闭嘴|哪个键结束这次回复|问错了，能打断吗|够了，中途怎么停|中止会丢掉聊天吗|聊天里按 ctrl-c 安全吗|取消输出的键是什么|按了 ctrl-c 对话还在吗|怎么打断这次回答又继续聊|它啰嗦个没完，打断它|按 control c 有什么效果|手动截断回答|中止键是哪个"
        "|让它现在停下不写"),
    "help": (
        "I am new here, show me around|what are my possibilities on the command line?|where can I read about the flags?|list everything qwip can be told to do"
        "|usage?|no idea how to begin|which subcommands exist?|is there a help page?|I forgot the commands|I forgot the name of the option, where do I look it up?"
        "|man page?|command overview please|explain the usage of the program|what to type first?|all subcommands?|how do I see the flags of qwip run?"
        "|I need instructions for this tool|give me a tour|commands?|help me please with this program|beginner here, where do I start?",
        "我是新来的，带我看看|命令行上能做些什么|在哪里看选项的说明|列出 qwip 能做的全部命令|用法|不知道怎么开始|有哪些子命令|有帮助页吗|我忘了命令|忘了选项的名字，在哪里查|命令总览|先输入什么好|怎么看 qwip run 的选项|我需要这个工具的说明|新手从哪里看起"),
    "model_arg": (
        "it says no model given, where do I put it?|my gguf lies in another folder, how do I point to it?|pass /data/qwen.gguf to qwip"
        "|which position has the file name?|how do I switch to another gguf on the command line?|select between two model files|does the path go first or last?"
        "|-m or without -m?|use the file in Downloads as model|how do I tell it which gguf?|file path argument?|I have three ggufs, how do I say which one?"
        "|what comes after qwip chat?|give the file name of the model, but how?|how to point qwip at my file|the model is on drive D, what path do I write?"
        "|set the model file|is -m the model?|open model from a different directory|specify gguf location",
        "提示没有给模型，该写在哪|gguf 在别的文件夹，怎么指过去|把 /data/qwen.gguf 传给 qwip|文件名放在哪个位置|命令行里怎么换另一个 gguf|两个模型文件怎么选|路径写前面还是后面|要不要写 -m|用下载目录里的文件做模型|我有三个 gguf，怎么说用哪个"
        "|qwip chat 后面写什么|怎么让 qwip 找到我的文件|模型在 D 盘，路径怎么写|-m 就是模型吗|gguf 的位置怎么给"),
    "gguf": (
        "the file ends in .gguf, what's that?|why does everything come as gguf?|is GGUF one file or many?|does a gguf contain the tokenizer?"
        "|the extension gguf tells me what?|model file format here?|I see gguf everywhere, please explain|is the tokenizer inside the model file?"
        "|which container format is used for weights?|format of model.gguf?|what do they mean by GGUF?|what makes up a gguf file?|is gguf like a zip of a model?"
        "|are weights and vocabulary in the same gguf?|purpose of the gguf format|my download has the ending gguf, what sort of thing is it?|gguf for dummies"
        "|does one gguf hold the complete model?|abbreviation GGUF, what's behind it?|the file type of models in qwip?",
        "文件以 .gguf 结尾，那是什么|为什么都用 gguf|GGUF 是一个文件还是多个|gguf 里包含分词器吗|扩展名 gguf 说明什么|这里的模型文件是什么格式|到处看到 gguf，请解释|权重用哪种容器格式|model.gguf 的格式是什么|GGUF 指的是什么格式|gguf 文件由什么组成"
        "|权重和词表在同一个 gguf 里吗|gguf 格式的目的|下载的东西后缀是 gguf，是什么|一个 gguf 就是完整的模型吗"),
    "mmap": (
        "a 5 GB file opens in a blink, is that a trick?|how can the start be so quick?|why don't I wait for the model to load?|does it read the whole file at start?"
        "|what are mapped pages?|the program starts at once, why?|memory mapping in plain words|how come no loading bar?|is mapping better than reading?"
        "|advantage of mapped files|the model is there immediately, how is that done?|when are the pages of the file read?|why does loading need no copy?"
        "|what trick makes loading so short?|file mapped into memory, what does it mean?|how is the gguf loaded technically?|loads in milliseconds, really?"
        "|what does mapping a file do?|start-up time is tiny, explain|does mmap save time?",
        "5 GB 的文件一下就打开，是什么技巧|启动怎么这么快|为什么不用等模型加载|启动时会读整个文件吗|映射的页是什么|程序马上就启动，为什么|简单说说内存映射|怎么没有加载进度条|映射比读取好吗|映射文件的优点|模型立刻就好，是怎么做到的|文件的页什么时候读|加载为什么不用复制|gguf 技术上是怎么加载的"
        "|mmap 能省时间吗"),
    "quantization": (
        "why are four bits enough for a weight?|people talk about quantized models, what's that?|do I lose something with fewer bits?"
        "|what do we gain from fewer bits per weight?|is a quantized model worse?|what's the trick behind small model files?"
        "|rounding the weights, what is it called and why?|low-bit weights, explain|does a quantized file run quicker?|how can a model shrink to a quarter?"
        "|is it lossy?|what price do I pay for a smaller file?|the idea of quantizing in simple words|quantized versus original model?"
        "|will the answers suffer from quantization?|my teacher asks what quantization means|what changes inside a model when it's quantized?"
        "|int4 weights, what's the point?|why do people publish quantized versions?|precision loss by quantization?",
        "一个权重四位就够了吗，为什么|大家说的量化模型是什么|位数少了会损失什么|每个权重少用几位有什么好处|量化后的模型更差吗|小模型文件的诀窍是什么|低位权重是什么意思|量化文件跑得更快吗|模型怎么能缩到四分之一|量化是有损的吗|文件变小的代价是什么|用简单的话说量化|量化版和原版有什么不同|老师问量化是什么意思"
        "|为什么有人发布量化版"),
    "q4_0": (
        "how are weights stored in q4_0?|is 4.5 bits right for q4_0?|the file name has q4_0 in it, meaning?|block size of q4_0?|how does q4_0 work inside?"
        "|how many weights share a scale in q4_0?|why is q4_0 not exactly 4 bits?|layout of a q4_0 block|q4_0 in short|what hides behind q4_0?"
        "|four-bit format with blocks of 32, which and how?|explain the format q4_0 to me|does q4_0 have a scale?|what do I get with q4_0?"
        "|q4_0 how many bit per weight really|what's the letter q and the 4 in q4_0?|the smallest type, q4_0, what does it store?|is q4_0 lossy four-bit storage?"
        "|q4_0 details",
        "q4_0 里权重怎么存|q4_0 真的是 4.5 位吗|文件名里有 q4_0，什么意思|q4_0 的块多大|q4_0 内部怎么工作|q4_0 多少个权重共用一个缩放|q4_0 为什么不正好是 4 位|q4_0 块的布局|简短说 q4_0|q4_0 背后是什么|q4_0 有缩放值吗"
        "|q4_0 里的 q 和 4 是什么|最小的类型 q4_0 存什么|q4_0 的细节"),
    "q8_0": (
        "how are weights stored in q8_0?|is 8.5 bits right for q8_0?|the file name has q8_0 in it, meaning?|block size of q8_0?|how does q8_0 work inside?"
        "|how many weights share a scale in q8_0?|why is q8_0 not exactly 8 bits?|layout of a q8_0 block|q8_0 in short|what hides behind q8_0?"
        "|eight-bit format with blocks, explain|explain the format q8_0 to me|does q8_0 have a scale?|what do I get with q8_0?|q8_0 how many bit per weight really"
        "|what's the letter q and the 8 in q8_0?|one byte per weight plus a scale, is that q8_0?|q8_0 details|how does the 8-bit type store numbers?",
        "q8_0 里权重怎么存|q8_0 真的是 8.5 位吗|文件名里有 q8_0，什么意思|q8_0 的块多大|q8_0 内部怎么工作|q8_0 多少个权重共用一个缩放|q8_0 为什么不正好是 8 位|q8_0 块的布局|简短说 q8_0|q8_0 背后是什么|q8_0 有缩放值吗"
        "|q8_0 里的 q 和 8 是什么|8 位类型怎么存数字|q8_0 的细节"),
    "f16": (
        "half floats, what are they?|is f16 two bytes?|float16 meaning?|the file name says f16, what does it tell me?|what's half precision in a model?"
        "|16-bit floats of weights, explain|is f16 the same as float16?|how much room does one f16 number need?|f16 in short|fp16, what does the number mean?"
        "|what precision does f16 have?|why is it called half precision?|half of which precision is f16?|size of an fp16 number?|does f16 use sixteen bits?"
        "|model in f16, what does that mean?|number format f16, please explain|half a float32, is that f16?|what would f16 be in bytes?",
        "半精度浮点是什么|f16 是两个字节吗|float16 的意思|文件名写着 f16，说明什么|模型里的半精度是什么|f16 和 float16 一样吗|一个 f16 数要多大地方|简短说 f16|fp16 里的数字是什么意思|为什么叫半精度|f16 用十六位吗|模型是 f16 是什么意思"
        "|数字格式 f16，请解释|f16 合多少字节"),
    "bf16": (
        "why do Qwen checkpoints use bf16?|brain float, what's that?|my checkpoint says bfloat16, which type keeps it exact?|does conversion to bf16 lose anything?"
        "|lossless type for Qwen weights?|bf16 in short|range of bf16 compared with f32?|is bf16 two bytes as well?|torch_dtype is bfloat16, what does it mean?"
        "|what's the b in bf16?|bf16 has what precision?|is bf16 exact for a Qwen checkpoint?|why choose bf16 rather than f16?|what makes bf16 special?"
        "|no rounding of my Qwen weights, which 16-bit type?|explain the format bf16 to me|numbers in bfloat16, how are they?|bf16 good or bad?"
        "|does bf16 cover large numbers like f32?",
        "为什么 Qwen 检查点用 bf16|brain float 是什么|检查点写着 bfloat16，用哪种类型不损失|转成 bf16 会损失吗|Qwen 权重的无损类型是哪个|简短说 bf16|bf16 的范围和 f32 比怎么样|bf16 也是两个字节吗"
        "|torch_dtype 是 bfloat16，什么意思|bf16 的 b 是什么|bf16 的精度怎样|为什么选 bf16 不选 f16|bf16 特别在哪里|不想舍入 Qwen 权重，用哪个 16 位类型"),
    "f32": (
        "single precision floats, what are they?|is f32 four bytes?|float32 meaning?|the file name says f32, what does it tell me?|32-bit floats, explain"
        "|is f32 the same as float32?|how much room does one f32 number need?|f32 in short|fp32, what does the number mean?|what precision does f32 have?"
        "|why is it called single precision?|does f32 use thirty-two bits?|model in f32, what does that mean?|number format f32, please explain"
        "|full precision floats, how many bits are those?|what would f32 be in bytes?|size of an fp32 number?|full floats of 4 bytes, what's the name?"
        "|normal float type, how many bits?",
        "单精度浮点是什么|f32 是四个字节吗|float32 的意思|文件名写着 f32，说明什么|32 位浮点解释一下|f32 和 float32 一样吗|一个 f32 数要多大地方|简短说 f32|fp32 里的数字是什么意思|为什么叫单精度|f32 用三十二位吗|模型是 f32 是什么意思"
        "|数字格式 f32，请解释|f32 合多少字节"),
    "size": (
        "will it fit on a 2 GB stick?|how do I compute the file size from the parameters?|a model with 3 billion parameters in 4 bits, how many gigabytes?"
        "|is a 14B model too much for my disk?|how much will I have to download?|disk needed for a 1.5B in f16?|from parameter count to gigabytes, formula?"
        "|roughly how big are these files?|how many bytes does a 0.5B take on disk?|my SSD has 10 GB left, enough for a 7B?|GB per billion parameters?"
        "|how does the type influence the file size?|q8_0 file of a 4B model, how large?|before converting: what size will come out?"
        "|room that a model takes on the hard drive|size calculation for a gguf|how large are the downloads?|space for a 32B?|is f16 double the size of q8_0?"
        "|file size in gigabytes?",
        "2 GB 的 U 盘放得下吗|怎么用参数量算文件大小|30 亿参数用 4 位是几个 GB|14B 模型对我的硬盘太大吗|要下载多少数据|1.5B 的 f16 要多少硬盘|从参数量到 GB 的公式|这些文件大概多大|0.5B 在硬盘上占多少|硬盘还剩 10 GB，放 7B 够吗|每十亿参数多少 GB"
        "|类型怎么影响文件大小|4B 模型的 q8_0 文件多大|转换之前想知道结果多大|f16 文件是 q8_0 的两倍大吗"),
    "models": (
        "does it take Qwen3-4B?|my file is Qwen2-7B-Instruct, ok?|which generations of Qwen are fine?|is Qwen1.5 too old?|qwen 2.5 coder works?"
        "|what can I load with this?|is there a compatibility list?|I have a Qwen3 0.6B, can qwip handle it?|which architectures does it implement?"
        "|qwen2.5-1.5b-instruct ok?|does the program run the dense Qwen3 family?|names of usable models?|will a fine-tuned Qwen2.5 work?|models that run here?"
        "|before I download: which Qwen is accepted?|is qwen3-8b good to go?|what is compatible with qwip?|which Qwen series may I use?|supported versions of Qwen?"
        "|Qwen2.5 seven billion, does that run?",
        "能用 Qwen3-4B 吗|我的文件是 Qwen2-7B-Instruct，行吗|哪几代 Qwen 可以|Qwen1.5 太旧了吗|qwen 2.5 coder 能用吗|这个程序能加载什么模型|有兼容列表吗|我有 Qwen3 0.6B，qwip 能处理吗|实现了哪些架构|稠密的 Qwen3 能跑吗"
        "|可用的模型有哪些名字|微调过的 Qwen2.5 能用吗|下载之前想知道哪些 Qwen 行|qwen3-8b 可以吗|Qwen 的哪些系列能用"),
    "other_models": (
        "my favourite is Llama 3, can I take it?|TinyLlama possible?|I have a falcon model here|does Phi-3 work in qwip?|what about models from Google?"
        "|models of Meta, do they run?|Yi or Baichuan, ok?|GLM support?|can it do StarCoder?|is it Qwen only?|any other brand of models?"
        "|my gguf is a gemma 2, will it start?|I'd rather use Mistral 7B|deepseek r1 in qwip?|Qwen3-30B-A3B, possible?|are expert models with routing supported?"
        "|does gpt-oss run here?|could I load GPT-2?|vicuna file, will that go?|what if my model is from another company?|bloom, opt, gpt-j: any of these?"
        "|it says unsupported architecture llama|only Qwen or also others?|mixtral of experts, can qwip?|will you support Llama here?"
        "|my boss prefers Llama, does this program run it?|I got a Command R gguf|is InternLM accepted?|not a Qwen model, still possible?|kimi k2 works?"
        "|can SmolLM be used?|MoE Qwen works or not?|rwkv or mamba?|nemotron supported?|can I try an OLMo model?|granite from IBM, will it load?",
        "我喜欢 Llama 3，能用吗|TinyLlama 行吗|我这里有 falcon 模型|Phi-3 在 qwip 里能用吗|谷歌的模型呢|Meta 的模型能跑吗|Yi 或者百川可以吗|支持 GLM 吗|StarCoder 能跑吗|只能用 Qwen 吗|还有别的牌子的模型可以吗"
        "|我的 gguf 是 gemma 2，能启动吗|想用 Mistral 7B|deepseek r1 能在 qwip 里跑吗|Qwen3-30B-A3B 可以吗|带专家路由的模型支持吗|gpt-oss 能跑吗|能加载 GPT-2 吗|模型是别家公司的怎么样|提示不支持 llama 架构"
        "|混合专家的 Qwen 行不行|老板喜欢 Llama，这个程序能跑吗|InternLM 可以吗|不是 Qwen 也行吗|kimi 能用吗|文心一言能在这里跑吗|mamba 模型支持吗"),
    "demo": (
        "why do you know so little?|you seem a bit dumb, why?|what model answers me right now?|are you as good as a 7B?|how clever is this thing I'm chatting with?"
        "|are you a toy?|what's your architecture?|number of your weights?|are you one of the official Qwens?|should I believe what you say?"
        "|is the answer from a big model or a small one?|how smart are you?|what's inside the chat when I give no file?"
        "|I started qwip chat without a file, what am I talking to?|are you four million parameters?|the model that ships with qwip, what is it?"
        "|can I use you for serious work?|how reliable are you?|which model is loaded?|your brain size?|why can't you answer more?"
        "|what is the purpose of this tiny model?|is this the full Qwen3?|were you made just for demonstration?|is your knowledge limited?"
        "|are you a large language model?|how small are you really?|what do you consist of?|do you know anything besides qwip?"
        "|why does the included model give such short answers?|I expected a smart AI, what is this?|the model without a file, how good is it?"
        "|what's the capacity of the bundled model?|are you comparable to GPT-4?|how many million parameters in you?|is this model only an example?",
        "你为什么懂得这么少|你有点笨，为什么|现在回答我的是哪个模型|你和 7B 一样好吗|跟我聊天的东西有多聪明|你是玩具吗|你的架构是什么|你有多少权重|你是官方的 Qwen 吗|我该相信你说的吗|这是大模型还是小模型的回答|不给文件时聊天里是什么|我没写文件就 qwip chat 了，在跟什么说话"
        "|qwip 自带的模型是什么|能拿你做正经工作吗|你可靠吗|现在加载的是哪个模型|你的脑子有多大|这个小模型有什么目的|这是完整的 Qwen3 吗|你只是用来演示的吗|你是大语言模型吗|你到底有多小|除了 qwip 你还懂什么|自带模型为什么回答这么短|你能和 GPT-4 比吗|你有几百万参数"),
    "identical": (
        "will my colleague with a Mac get the same text as me on Linux?|does hardware influence the reply?|if I move to another server, do the outputs change?"
        "|can I trust that tests pass on every machine?|bitwise equality across computers?|is there any difference between Intel and AMD results?"
        "|the number of cores and the result, related?|same words on my ARM board and on my desktop?|reproducible on different hardware?"
        "|we run on ARM in the cloud and x86 at home, same outcome?|do rounding differences between CPUs matter?|scalar code and AVX code, equal output?"
        "|does the result depend on the computer?|is every bit the same everywhere?|with -t 1 and -t 16 do I get equal answers?"
        "|will a new processor change my results?|floating-point differences between machines?|can two computers disagree?|portable results?"
        "|our lab needs exact reproducibility on all nodes",
        "同事用 Mac，我用 Linux，文字一样吗|硬件会影响回复吗|换服务器输出会变吗|测试在每台机器上都能通过吗|不同电脑上每一位都相等吗|Intel 和 AMD 的结果有差别吗|核心数和结果有关系吗|不同硬件上可以复现吗|云上用 ARM，家里用 x86，结果相同吗|CPU 之间的舍入差异有影响吗"
        "|标量代码和 AVX 代码输出相等吗|结果取决于电脑吗|-t 1 和 -t 16 答案相等吗|换了新处理器结果会变吗|两台电脑会不会不一致"),
    "licence": (
        "may I sell a product with qwip inside?|what are the legal terms?|is it gratis?|can I look at the source?|MIT or GPL?|our lawyers ask for the licence"
        "|am I allowed to modify the code?|price of qwip?|do I need to buy a key?|may I redistribute it?|is this freeware?|can a school use it without paying?"
        "|how much is a subscription?|Apache or MIT?|is there a trial period?|are there fees for companies?|can I fork it?|terms of use?|is the code public?"
        "|copyright conditions of qwip?",
        "我能卖含有 qwip 的产品吗|法律条款是什么|是白用的吗|能看源码吗|MIT 还是 GPL|律师问许可证|允许我改代码吗|qwip 多少钱|要买密钥吗|可以再分发吗|学校不付钱能用吗|订阅要多少钱|有试用期吗|公司要交费吗|代码公开吗"),
    "platforms": (
        "I have an M2 MacBook, will it go?|my home server has Ubuntu, ok?|is Windows 11 fine?|can I put it on my Raspberry Pi 4?"
        "|does it start on an Apple Silicon machine?|debian, fedora, arch: any of them?|our office PCs all have Windows, can we use it?|is a 32-bit computer enough?"
        "|what OS do I need?|which processors are ok?|AMD Ryzen fine?|on my Chromebook with Linux, does it go?|does it work on an ARM server?"
        "|Snapdragon laptop, possible?|is Android supported?|iPhone version?|does it run in WSL?|I switched from Windows to Mac, can I keep using it?"
        "|intel or arm, does it matter?|old Intel iMac, will it work there?|can you tell me the system requirements for the OS?|is there a version for Linux?"
        "|mac version available?|is x86 enough?|operating system requirements|can I install it under Windows 10?|does my Graviton instance run it?|aarch64 ok?"
        "|on which machines is qwip at home?|FreeBSD supported?|is there a build for Apple?|my laptop is a ThinkPad with Linux"
        "|will qwip run on the computers in our school?|do I need a special computer for it?|portable to which systems?",
        "我有 M2 的 MacBook，能用吗|家里的服务器是 Ubuntu，行吗|Windows 11 可以吗|能放到树莓派 4 上吗|Apple Silicon 上能启动吗|debian、fedora 都行吗|办公室都是 Windows，能用吗|32 位的电脑够吗|需要什么操作系统|哪些处理器可以"
        "|AMD 锐龙行吗|ARM 服务器上能工作吗|骁龙笔记本可以吗|支持安卓吗|有 iPhone 版吗|WSL 里能运行吗|从 Windows 换到 Mac 还能用吗|Intel 和 ARM 都行吗|有 Linux 版本吗|有 Mac 版吗|Windows 10 能装吗|aarch64 可以吗"
        "|支持 FreeBSD 吗|我的 ThinkPad 装了 Linux，能用吗|学校的电脑能跑 qwip 吗|需要特殊的电脑吗"),
    "gpu": (
        "I bought an RTX 4090, can qwip profit from it?|is it CPU only?|no graphics card in my server, trouble?|Metal on Mac used?|does it know Vulkan?"
        "|rocm for my Radeon?|how do I put layers on the graphics card?|can the calculation be moved to the video card?|my integrated graphics, is it any help?"
        "|VRAM needed?|offload to GPU?|what about an NPU?|how many layers go to the GPU?|would a graphics card make it quicker here?|-ngl exists?"
        "|is an accelerator required?|opencl?|does a laptop without dedicated graphics suffice?|can I choose cuda device 0?|my graphics card stays idle, why?",
        "我买了 RTX 4090，qwip 用得上吗|只用 CPU 吗|服务器没有显卡，有问题吗|Mac 上用 Metal 吗|支持 Vulkan 吗|Radeon 能用 rocm 吗|怎么把层放到显卡上|计算能移到显卡吗|集成显卡有帮助吗|需要显存吗|能用 NPU 吗|有 -ngl 吗|需要加速卡吗"
        "|没有独立显卡的笔记本行吗|我的显卡闲着，为什么"),
    "server": (
        "I want to use it from my browser|can my phone talk to qwip on my PC?|REST endpoint?|does it listen on a port?|curl to localhost, works?"
        "|drop-in for the OpenAI API?|several users at once over the network?|web ui?|how do I host a model for my team?|is there an api?|connect Open WebUI to qwip"
        "|my app speaks HTTP, how do I reach the model?|port 8080?|can VS Code plugins connect to it?|run as a daemon?|does it offer v1/chat/completions?"
        "|background service with an endpoint?|I need a chat page for my colleagues|web frontend included?|langchain wants a base url"
        "|host a chatbot on my website with qwip?",
        "想在浏览器里用|手机能连电脑上的 qwip 吗|有 REST 端点吗|会监听端口吗|curl 本机能用吗|能代替 OpenAI 的 API 吗|多个用户能同时通过网络用吗|有 web 界面吗|怎么给团队托管模型|怎么把 Open WebUI 接到 qwip|我的应用用 HTTP，怎么连模型"
        "|VS Code 插件能连吗|能当后台服务吗|提供 v1/chat/completions 吗|想给同事一个聊天网页"),
    "token": (
        "why do they count tokens and not words?|how long is one token?|a piece of text for the model, how is it called?|is a letter a token?"
        "|Chinese character equals one token?|I keep reading tokens, what are they?|units that a model reads, what are they?|difference between word and token?"
        "|how does text become numbers?|what's the job of the tokenizer?|is a comma a token?|explain tokens to a child"
        "|what are the building blocks of text in a model?|can a word have two tokens?|subword units, what are they called?|what do you mean by tokens?"
        "|text pieces, explain|tokens vs words|the thing that splits text, what is it?|why are long words split?",
        "为什么数 token 不数词|一个 token 有多长|给模型的一小块文字叫什么|一个字母是 token 吗|一个汉字等于一个 token 吗|老看到 token，是什么东西|模型读的单位是什么|词和 token 有什么区别|文字怎么变成数字|分词器的工作是什么|逗号算 token 吗|给小孩解释 token"
        "|一个词能有两个 token 吗|长的词为什么被切开|切文字的那个东西叫什么"),
    "kv_cache": (
        "why isn't the whole conversation computed again for each word?|keys and values, what are they kept for?|what grows while I chat?"
        "|what does the model remember between tokens?|attention cache, what is it?|why is the second token quicker than the prompt?"
        "|does the model recompute old tokens?|cache of a transformer, explain|reuse of earlier computations, how?|is the cache larger for long chats?"
        "|what is saved from earlier tokens?|kv, what do the letters mean?|what would happen without a KV cache?|the K and the V in KV cache?"
        "|memory goes up with each message, reason?|what is stored for every past token?|why is generation not slower with every word?|cache for keys, purpose?"
        "|explain the cache to me|how does the model avoid double work?",
        "为什么不用每个词都重算整个对话|键和值保存来做什么|聊天时什么在变大|模型在 token 之间记住什么|注意力缓存是什么|模型会重算旧的 token 吗|解释 transformer 的缓存|怎么重用以前的计算|聊天长了缓存更大吗|前面的 token 保存了什么|kv 两个字母是什么意思"
        "|没有 KV 缓存会怎样|KV 缓存里的 K 和 V 是什么|每发一条消息内存就涨，原因是什么|模型怎么避免重复计算"),
    "template": (
        "how are my messages formatted for the model?|what are im_start and im_end?|how does the model know who is speaking?"
        "|what puts user and assistant markers in the text?|do I have to write the role markers myself?|is jinja in the file?"
        "|where do the roles get into the prompt?|how is a conversation turned into one text?|what is ChatML good for?|message format of Qwen?"
        "|does qwip take its own template or the one of the model?|from messages to prompt, how?|why are there special markers around my question?"
        "|the thing that wraps messages, what's it?|chat formatting, explain|how does qwip lay out the turns?|which prompt format is applied?"
        "|does each model have its own template?|template from the gguf used?|role tags, what are they for?",
        "我的消息是怎么排给模型的|im_start 和 im_end 是什么|模型怎么知道是谁在说话|user 和 assistant 的标记是谁加的|要自己写角色标记吗|文件里有 jinja 吗|对话怎么变成一段文本|ChatML 有什么用|Qwen 的消息格式|qwip 用自己的模板还是模型的"
        "|从消息到提示是怎么做的|我的问题外面为什么有特殊标记|提示用什么格式|每个模型有自己的模板吗|角色标签有什么用"),
    "logits_mean": (
        "the scores before softmax, what are they called?|why can logits be negative?|is a logit a probability?|scores of the next token, explain"
        "|how do scores turn into probabilities?|what numbers does a model put out?|one logit, what is that?|are logits percentages?"
        "|raw scores of a model, what are they?|what does a high logit tell me?|from logits to probabilities?|one number per vocabulary entry, what's that?"
        "|I read logits in a paper, please explain|what is the model's direct output?|logit, simple definition|unnormalized scores, what's that?"
        "|difference between logits and probabilities|what do these logits stand for?|logits for beginners",
        "softmax 之前的分数叫什么|logits 为什么会是负数|logit 是概率吗|解释下一个 token 的分数|分数怎么变成概率|模型输出的数字是什么|logits 是百分比吗|模型的原始分数是什么意思|logit 高说明什么|词表里每项一个数，那是什么|论文里有 logits，请解释"
        "|模型直接的输出是什么|logits 和概率有什么区别|给新手讲 logits"),
    "checkpoint": (
        "what files do I find in a Hugging Face repo of a model?|config.json and tokenizer.json, what are they a part of?"
        "|a trained model on disk, how is it organised?|what's saved after training?|is a checkpoint a folder?|is config.json needed in the folder?"
        "|what makes the directory complete?|which files are needed for a model directory?|my trainer wrote a checkpoint, what is this?|what's in CHECKPOINT_DIR?"
        "|checkpoint, in simple words|contents of a HF model folder?|are the weights in the checkpoint?|parts of a checkpoint?"
        "|does a checkpoint include the tokenizer?|the word checkpoint in machine learning?|saved model folder, how is it called?|which json files belong in there?"
        "|checkpoint: file or directory?",
        "Hugging Face 模型仓库里有哪些文件|config.json 和 tokenizer.json 属于什么|训练好的模型在硬盘上是怎样的|训练之后保存的是什么|检查点是一个文件夹吗|目录里必须有 config.json 吗|目录里要哪些文件才完整|训练程序写了检查点，这是什么"
        "|CHECKPOINT_DIR 里有什么|简单说检查点|HF 模型文件夹的内容|检查点里有权重吗|检查点包括分词器吗|检查点是文件还是目录"),
    "safetensors": (
        "the weights come as .safetensors, what's that?|why not pickle?|is safetensors safer than pytorch files?|extension safetensors, meaning?"
        "|what kind of weights file does Hugging Face use?|who needs safetensors?|safetensors in short|can a safetensors file contain viruses?"
        "|model.safetensors, explain|format of weights in a checkpoint?|what do I do with safetensors, what are they?|why safe in safetensors?"
        "|are tensors inside safetensors?|file format for tensors?|what stands in model-00001-of-00002.safetensors?|purpose of safetensors"
        "|safetensors, good for what?|the safetensors ending tells me what?|is safetensors a checkpoint weight format?",
        "权重是 .safetensors，那是什么|为什么不用 pickle|safetensors 比 pytorch 文件安全吗|扩展名 safetensors 的意思|Hugging Face 用什么权重文件|谁需要 safetensors|简短说 safetensors|safetensors 会带病毒吗"
        "|解释一下 model.safetensors|检查点里的权重是什么格式|safetensors 为什么叫安全|safetensors 里面是张量吗|存张量的文件格式是什么|safetensors 有什么好处"),
    "qwen": (
        "is Qwen Chinese?|which firm trained Qwen?|what are the Qwen models?|is Qwen from OpenAI?|Tongyi Qianwen, what is that?|tell me something about Qwen models"
        "|Alibaba's model, what is it called?|is Qwen from Google or from somebody else?|who stands behind the Qwen family?|is Qwen an open model?"
        "|the models qwip runs, who makes them?|how did Qwen come about, who is the maker?|Qwen in short|what sort of models are Qwen?|are Qwen weights open?"
        "|the maker of Qwen?|Qwen, is it a company or a model?|does Alibaba make Qwen?|origin of Qwen|my friend recommends Qwen, what is it?",
        "Qwen 是中国的吗|哪家企业训练了 Qwen|Qwen 模型是些什么模型|Qwen 是 OpenAI 的吗|通义千问是谁家的|说说 Qwen 这个模型家族|阿里的模型叫什么|Qwen 是谷歌做的吗|Qwen 系列的背后是谁|Qwen 是开放模型吗|qwip 运行的模型是谁做的|Qwen 是公司还是模型"
        "|阿里云做了 Qwen 吗|Qwen 的来历|朋友推荐 Qwen，那是什么"),
    "rust": (
        "what did the authors code it in?|do I have to install Python first?|pip install needed?|is there any C in it?|which compiler builds it?"
        "|which toolchain was it made with?|does it have Python dependencies?|I hate Python environments, do I need one?|is it coded in Go?|is it Java?"
        "|source code language?|could I contribute if I know only Rust?|I read it's a cargo project, is that so?|which coding language is behind this?"
        "|must conda be there?|no Python on my machine, ok?|what technology is qwip built with?|is it C++ like llama.cpp?|the language of the sources?"
        "|developers used which language?|is it a wrapper around pytorch?|does it require pytorch?|written with what?|I'm a Rust fan, is this for me?"
        "|do I need a virtual environment?|are there python scripts to run?|what's under the hood, C or Rust?|to build it I need what language?"
        "|is qwip a native program and in which language?|any interpreter required?|was this made in JavaScript?|is node needed?|need numpy or torch?"
        "|language of implementation|I can't install python at work, does qwip still go?",
        "作者用什么写的代码|要先装 Python 吗|需要 pip install 吗|里面有 C 吗|是用 Go 写的吗|是 Java 吗|源代码是什么语言|只会 Rust 能参与开发吗|听说是 cargo 项目，对吗|背后是哪种编程语言|必须有 conda 吗|机器上没有 Python，可以吗"
        "|qwip 用什么技术做的|像 llama.cpp 那样用 C++ 吗|开发者用了哪种语言|是 pytorch 的包装吗|依赖 pytorch 吗|我喜欢 Rust，这个适合我吗|要建虚拟环境吗|要运行 python 脚本吗|底层是 C 还是 Rust|构建它要什么语言|需要解释器吗"
        "|是 JavaScript 做的吗|需要 numpy 或 torch 吗|公司不让装 python，qwip 还能用吗"),
    "simd": (
        "why does it run well without a graphics card?|how does qwip get its speed?|vector instructions, what are they?|what's AVX-512 for?"
        "|many numbers with one instruction, what is that?|what do kernels mean here?|does it use vector units?|NEON, what's it on ARM?"
        "|is there optimized code for my CPU type?|parallel arithmetic inside one core, explain|is there a fallback without AVX?|single instruction multiple data?"
        "|what makes the matrix multiplication quick?|which vector extensions are used?|special instructions of the processor, which are used?"
        "|kernel in the sense of computing, explain|hand-tuned code for which CPUs?|is NEON supported by the kernels?|avx2, why is it good?"
        "|what's the secret of the speed?",
        "没有显卡为什么也跑得好|qwip 的速度从哪来|向量指令是什么|AVX-512 是干什么的|一条指令算多个数，那是什么|这里说的内核是什么意思|会用向量单元吗|ARM 上的 NEON 是什么|有针对我的 CPU 优化的代码吗|没有 AVX 有后备代码吗|单指令多数据是什么|矩阵乘法为什么快|用了哪些向量扩展"
        "|用到处理器的哪些特殊指令|avx2 有什么好处"),
    "llm": (
        "how can a computer write sentences?|what goes on when a chatbot answers?|is it just guessing the next word?|how does AI make text?"
        "|what's the principle of ChatGPT-like programs?|explain large language models to a ten-year-old|why does the text appear word by word?"
        "|does a model understand or predict?|what is meant by LLM in the news?|my daughter asks how a chatbot works|machines that write, how do they do it?"
        "|next-token prediction, what's that?|what's the basic mechanism of these models?|LLM explained|how is a reply formed, piece by piece?"
        "|what's artificial intelligence of this kind doing?|how does a text generator function?|what do the big language models do all day?"
        "|what kind of program is a language model?|where do the words of an AI come from?|does it look up answers or invent them?"
        "|what's going on inside such an AI?|short explanation of LLMs please|LLM stands for?|I heard of LLMs on TV, what are they?"
        "|what does it mean to generate text?|the theory behind text AI in brief|is a language model a database?|how do neural networks write?"
        "|in what way does a model produce an answer?|AI that talks, how is that possible?|why one token after another?|what are language models, generally?"
        "|teach me the basics of language models|what's a generative model for text?",
        "电脑怎么会写句子|聊天机器人回答时发生了什么|就是在猜下一个词吗|AI 怎么写出文字|ChatGPT 那类程序的原理是什么|给十岁孩子讲大语言模型|文字为什么一个一个出来|模型是理解还是预测|新闻里的 LLM 指什么|女儿问聊天机器人怎么工作|会写字的机器是怎么做到的|预测下一个 token 是什么意思"
        "|这类模型的基本机制|回复是怎样一块一块形成的|文本生成器怎么工作|语言模型是一种什么程序|AI 的话是从哪里来的|它是查答案还是编答案|这种 AI 里面在做什么|请简短解释 LLM|LLM 是哪几个词的缩写|电视上说的 LLM 是什么|生成文本是什么意思|语言模型是数据库吗|神经网络怎么写文章"
        "|教我语言模型的基础"),
    "weights": (
        "what's the B in 1.5B?|numbers learned in training, what are they called?|is 7B big?|the count of parameters, what does it tell?"
        "|0.5B or 7B, what do those mean?|what does a model consist of?|are parameters and weights the same?|why do model names have numbers like 14B?"
        "|what does a model learn, physically?|parameter in a neural network?|what's saved in the weights?|3B means three of what?|billions of what?"
        "|Qwen2.5-7B, what's the 7B there?|what exactly is learned in training?|weights in simple words|size label of a model, e.g. 4B, meaning?"
        "|where is the knowledge of a model stored?|are weights just numbers?|1.7B stands for?",
        "1.5B 里的 B 是什么|训练学到的数字叫什么|7B 算大吗|参数的数量说明什么|0.5B 和 7B 表示什么|模型由什么组成|参数和权重一样吗|模型名为什么有 14B 这样的数字|神经网络里的参数指什么|权重里保存了什么|3B 是三个什么|十亿的什么|Qwen2.5-7B 里的 7B 指什么"
        "|模型的知识存在哪里|权重就是数字吗"),
    "tools_what": (
        "how can a model look up the weather through my program?|the model asks to run a function, how is that meant?|agents call functions, how does it go?"
        "|what are tools for a model?|who executes the function, the model or me?|functions with arguments from the model, explain|tool use, what is it?"
        "|how does a model use a calculator?|the reply contains a function name, why?|is the tool run by the model itself?|tool_calls, what are those?"
        "|explain tools in chat models|how does the result of a function come back to the model?|what happens in a function call of an LLM?"
        "|could a model trigger my code?|what do I do when the model returns a tool call?|model and external functions, how do they work together?"
        "|function calls for beginners|calling tools, short explanation|what's an agent's tool?",
        "模型怎么通过我的程序查天气|模型要求运行一个函数，是什么意思|智能体调用函数是怎么进行的|对模型来说工具是什么|函数由谁执行，模型还是我|解释模型给出的函数和参数|使用工具是怎么回事|模型怎么用计算器|回复里有函数名，为什么|工具是模型自己运行的吗|tool_calls 是什么|函数的结果怎么回到模型"
        "|模型能触发我的代码吗|模型返回工具调用我该做什么|简短解释调用工具"),
    "missing": (
        "I'd like to teach the model my own data|can I attach a photo?|here is a picture, what's on it?|transcribe my recording|speak the answer aloud"
        "|can it read the text in a screenshot?|voice input?|use my LoRA adapter|apply an adapter to the base model|make the model learn from my documents"
        "|importance matrix for better quantization?|draw me a picture|generate an image of a cat|can it watch a video?|training run, how?|embeddings for search?"
        "|does qwip make embeddings?|I want to continue training my checkpoint here|can it hear me?|text to speech?|run Qwen2-VL with pictures?|multimodal input?"
        "|reinforcement learning with qwip?|does it do speculative decoding?|can I upload a pdf scan as an image?|distill a model with it?|qlora possible?"
        "|adapter files, can I load them?|is vision included?|my camera image as input?|microphone support?|can I train on my chats?"
        "|does qwip handle whisper models?|produce pictures with it?|compute an imatrix from my texts",
        "想用自己的数据教模型|能附一张照片吗|这是一张图片，上面是什么|把我的录音转成文字|把回答念出来|能读截图里的字吗|可以语音输入吗|用我的 LoRA 适配器|让模型从我的文档学习|有重要性矩阵吗|给我画一张图|生成一只猫的图片|能看视频吗|怎么在这里做训练|能做向量嵌入吗|想在这里继续训练检查点|它听得见我吗"
        "|有文字转语音吗|能用 Qwen2-VL 看图吗|支持多模态输入吗|能做强化学习吗|能蒸馏模型吗|qlora 可以吗|能加载适配器文件吗|支持麦克风吗|能用我的聊天记录训练吗|摄像头的图能当输入吗"),
    "slow": (
        "one word per second, that's painful|I fall asleep waiting for the reply|how do I get it snappier?|generation crawls|my old laptop takes forever"
        "|can it be accelerated?|tips for more speed?|it lags|the text comes drop by drop|performance is poor, what should I change?"
        "|what can I do against the long waiting?|ten minutes for one answer, help|increase tokens per second|sluggish on my PC|reply time is terrible"
        "|make generation quicker|is there a way to have it answer sooner?|speed tips|any trick to make it run better?|a 7B is crawling on my notebook",
        "一秒一个字，太难受了|等回复等得睡着了|怎么让它灵敏一点|生成像爬一样|旧笔记本要等好久|能加速吗|有提速的窍门吗|很卡|字一点一点出来|性能不好，该改什么|一个回答要十分钟，帮帮我|在我的电脑上很迟钝|反应时间太长了|怎么让它早点回答|7B 在我的本子上跑不动，太慢"),
    "hello": (
        "hey qwip|hi you|good day to you|hello my friend|hello computer|hey, nice to see you|hi, I'm back|good to see you again|hello, anyone there?|morning!"
        "|evening, qwip|hi all|hello little model|well hello|hey hey|hi there, little one|salutations|hello, it's me|a very good morning|hallo",
        "嗨 qwip|你好，小模型|你好，我回来了|很高兴见到你|有人在吗|哈啰|早呀|晚上好呀|中午好|你好，朋友|嘿，你好|又是我，你好|各位好|hello 你好|嗨，你好呀"),
    "who": (
        "who's there?|what kind of being are you?|am I talking with a machine?|do I speak to a real person?|what do they call you?|state your name|your name?"
        "|are you Qwen or qwip?|who answers me here?|a few words about yourself, please|are you alive?|please introduce yourself briefly"
        "|is anybody human on the other side?|are you Siri?|are you Claude?|is this a bot?|let me know who you are|I don't know you, who are you?"
        "|hello, who are you?|which bot are you?",
        "那边是谁|你是一种什么东西|我在跟机器说话吗|跟我说话的是真人吗|别人叫你什么|报上名来|你的名字呢|你是 Qwen 还是 qwip|是谁在回答我|请简单说说你自己|你是活的吗|对面有真人吗|你是 Siri 吗|你是小爱同学吗|我不认识你，你是谁"),
    "can": (
        "what are you useful for?|which topics do you know?|give me examples of what I can ask|what are your skills?|are you able to help?|tell me what you can do"
        "|what's in your repertoire?|can you do math?|is there something you do well?|what shall I ask you first?|what tasks can you do for me?"
        "|what kind of help do you offer?|show me your talents|on which subjects can you talk?|I don't know what to ask|can you answer questions?"
        "|your abilities please|what would you be able to tell me?|do you know any facts?|what do you have to offer?",
        "你有什么用处|你懂哪些话题|举例说我能问什么|你的技能是什么|你能帮忙吗|说说你能做的事|你会算数吗|你做得好的是什么|我先问你什么好|你能替我做什么事|你提供什么帮助|展示一下你的本事|我不知道该问什么|你能回答问题吗|你知道一些常识吗"),
    "how_are_you": (
        "everything all right with you?|are you well?|how have you been?|you ok?|how is life?|how goes it?|feeling good?|are you happy today?|how was your day?"
        "|hope you are well|are you in a good mood?|what about you, all fine?|and how are you?|how do you find yourself today?|how are things?|you doing fine?"
        "|is everything going well?|are you tired?",
        "你一切都好吧|你身体好吗|这阵子怎么样|你没事吧|生活怎么样|感觉好吗|你今天开心吗|今天过得如何|希望你一切顺利|你心情好吗|你呢，还好吗|事情都顺利吗|你累吗|近况如何"),
    "thanks": (
        "wonderful, thank you|that was helpful|you helped me a lot|great job, thanks|thank you kindly|much obliged|thanks, got it|thanks for explaining|ty"
        "|thank you, that works|super, thanks|ok thanks a lot|I'm grateful|thanks, it works now|very kind of you|thanks for your time|good answer, thank you"
        "|nice one, thanks|thanks a million|thank you so much for that",
        "太棒了，谢谢你|帮了大忙|你帮了我很多|干得好，谢谢|谢谢，懂了|谢谢你的解释|谢谢，能用了|超级感谢|我很感激|谢谢，现在好了|你真好，谢谢|谢谢你花时间|答得好，谢谢|万分感谢|感谢解答"),
    "bye": (
        "I'm leaving now|that's it for me, goodbye|time to go, bye|take care|catch you later|so long|I am off to bed|talk to you tomorrow|over and out"
        "|got to run, bye|ciao|until tomorrow|I'm done for today, bye|have a good evening, goodbye|adieu|bye now|sleep well|we'll speak again, bye|leaving, see you",
        "我要下线了|我就到这儿，再见|该走了，拜|保重|回见|我去睡觉了|明天再聊|先走一步|要赶时间，再见|改天见|今天结束了，拜拜|祝你晚上愉快，再见|后会有期|睡个好觉|下次再聊"),
    "sorry": (
        "that can't be right|no, wrong|your answer is false|nonsense|you got it wrong|that's not true|not what I asked|this is a mistake|you are mistaken"
        "|I checked, it's incorrect|bad answer|that answer makes no sense|you misunderstood me|error in your answer|you said something false|nope, that's wrong"
        "|the result is wrong|I don't believe that is correct|what you said is not true|you failed",
        "这不可能对|不，错了|你的答案是假的|胡说|你弄错了|这不是真的|我问的不是这个|这是个错误|我查过了，不正确|回答得很差|这回答没道理|你误解我了|你的回答有错|结果错了|你刚才说的不对"),
    "unknown": (
        "write my homework about the French revolution|how do I cook a lasagna?|which car should I buy?|who painted the Mona Lisa?"
        "|what's the score of yesterday's match?|plan my holiday in Spain|write a cover letter for me|explain the theory of relativity|is it going to snow?"
        "|write a sorting algorithm in Python|debug my JavaScript|what's the exchange rate of the dollar?|tell me the history of Rome"
        "|which movie should I watch tonight?|summarize this article for me|who wrote Faust?|I have a headache, what should I take?|draft an email to my landlord"
        "|how old is the universe?|when did the second world war end?|solve this differential equation",
        "帮我写关于历史的作业|红烧肉怎么做|我该买哪辆车|蒙娜丽莎是谁画的|昨天比赛几比几|帮我计划旅行|帮我写求职信|解释相对论|会下雪吗|用 Python 写排序算法|帮我改 JavaScript 的错误|美元汇率是多少|讲讲唐朝的历史|今晚看什么电影|我头疼该吃什么药"),
    "joke": (
        "entertain me|I need a laugh|one joke, please|tell me something amusing|cheer me up|can you be funny?|do you have humour?|a funny line please"
        "|let's hear a joke|say a witty thing|I'm sad, make me smile|could you tell a joke?|another joke|humour me|joke about models?|pun please|amuse me"
        "|a short joke|I could use some humour",
        "逗逗我|我想笑一笑|请来一个笑话|说点有趣的|让我开心一下|你会搞笑吗|你幽默吗|来一句好笑的话|听你说个笑话|我难过，逗我开心|能讲笑话给我听吗|再讲一个笑话|关于模型的笑话|来个短笑话|讲点搞笑的"),
    "language": (
        "can I write to you in Chinese?|is English ok for you?|do you know German?|can we switch to Chinese?|in which language should I write?|parlez-vous français?"
        "|do you understand me when I write English?|what's your native language?|how many languages have you learned?|are you bilingual?|do you speak Spanish?"
        "|is my Chinese understood?|English or Chinese, what's better for you?|which tongues do you speak?|are you able to talk in Chinese?|may I use English?"
        "|your languages?|can you understand Japanese?",
        "可以用中文跟你说吗|用英文可以吗|你懂德语吗|能换成中文吗|我该用什么语言写|我写英文你看得懂吗|你的母语是什么|你学了几种语言|你会双语吗|你会说法语吗|你听得懂中文吗|中文和英文你更擅长哪个|你会讲日语吗|能用英语交流吗|你会哪些语言"),
    "days_week": (
        "how long is a week in days?|from Monday to Sunday, how many days is that?|one week equals how many days?|a week in days?"
        "|my child asks how many days there are in a week|count of days in a week|week = how many days?|do you know how many days make a week?"
        "|what number of days does a week contain?|how many weekdays and weekend days together?|the days of one week, how many?|a full week has how many days?",
        "一周是多少天|从星期一到星期日一共几天|一个礼拜有几天|一个礼拜是多少天|一周等于几天|孩子问一星期有几天|你知道一周有多少天吗|一星期包含几天|工作日加周末一共几天|整整一周是几天"),
    "months_year": (
        "how long is a year in months?|from January to December, how many months is that?|one year equals how many months?|a year in months?"
        "|my child asks how many months there are in a year|count of months in a year|year = how many months?|do you know how many months make a year?"
        "|what number of months does a year contain?|how many months until a year is over, in total?|the months of one year, how many?"
        "|a full year has how many months?",
        "一年等于几个月|从一月到十二月一共几个月|孩子问一年有几个月|你知道一年有多少个月吗|一年包含几个月|一年分成几个月|整整一年是几个月|一年里有多少个月份|一年总共多少月"),
    "hours_day": (
        "how long is a day in hours?|from midnight to midnight, how many hours is that?|one day equals how many hours?|a day in hours?"
        "|my child asks how many hours there are in a day|count of hours in a day|day = how many hours?|do you know how many hours make a day?"
        "|what number of hours does a day contain?|day and night together, how many hours?|the hours of one day, how many?|a full day has how many hours?",
        "一天等于多少小时|从半夜到半夜是几个小时|孩子问一天有几个小时|你知道一天有多少小时吗|一天包含几个钟头|一天有几个钟头|白天加黑夜一共几小时|整整一天是几小时|一昼夜多少小时"),
    "minutes_hour": (
        "how long is an hour in minutes?|one hour equals how many minutes?|an hour in minutes?|my child asks how many minutes there are in an hour"
        "|count of minutes in an hour|hour = how many minutes?|do you know how many minutes make an hour?|what number of minutes does an hour contain?"
        "|once round the clock face for the long hand, how many minutes?|the minutes of one hour, how many?|a full hour has how many minutes?",
        "一小时等于多少分钟|孩子问一小时有几分钟|你知道一个小时有多少分钟吗|一个钟头有多少分钟|一个钟头是几分钟|一小时包含几分钟|分针走一圈是几分钟|整整一小时是几分钟"),
    "days_year": (
        "how long is a year in days?|from January to the end of December, how many days is that?|one year equals how many days?|a year in days?"
        "|my child asks how many days there are in a year|count of days in a year|year = how many days?|do you know how many days make a year?"
        "|what number of days does a year contain?|from birthday to birthday, how many days?|the days of one year, how many?|a normal year has how many days?",
        "一年等于多少天|从元旦到年底一共多少天|孩子问一年有多少天|你知道一年有几天吗|一年包含多少天|平年有多少天|从生日到下个生日是多少天|整整一年是多少天"),
}
