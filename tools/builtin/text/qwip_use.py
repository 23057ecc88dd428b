"""What a user asks about using qwip.

A topic is (name, fields). The fields end in the language: `do` holds verb phrases ("how do I ..."), `it` holds noun
phrases ("what is ..."), `ask` holds whole questions; alternatives are separated by `|`. `say` is the answer.
"""

TOPICS = [
    ("what_is_qwip", dict(
        it_en="qwip|this program|this tool|the qwip tool|the qwip runtime",
        ask_en="what is qwip?|what's qwip|so what exactly is this thing?|what is this software for?|what can qwip do?"
        "|what is qwip used for?|give me a short description of qwip|tell me about this program|describe qwip briefly"
        "|what does qwip do?|why would I use qwip?|what is the purpose of qwip?|qwip in one sentence please",
        say_en="qwip is a runtime for Qwen models: it runs GGUF files on your own CPU, offline, and converts checkpoints to GGUF.",
        it_zh="qwip|这个程序|这个工具|qwip 这个软件",
        ask_zh="qwip 是什么|qwip是什么软件|qwip 是做什么的|qwip 有什么用|qwip 能做什么|简单介绍一下 qwip|用一句话介绍 qwip"
        "|这个软件是干什么的|这是个什么程序|为什么要用 qwip|qwip 的用途是什么",
        say_zh="qwip 是 Qwen 模型的运行程序：它在你自己的 CPU 上离线运行 GGUF 文件，也能把检查点转换成 GGUF。")),
    ("offline", dict(
        do_en="use qwip without internet|run qwip offline|work without a network connection|use it with no network",
        ask_en="is qwip offline?|does qwip need the internet?|does it work offline|do I need an internet connection?"
        "|does qwip connect to the internet?|can I use this on a plane?|does this run locally?|is a network required?"
        "|do you send my data to a server?|is my data sent anywhere?|is my conversation private?|does qwip phone home?"
        "|will it work with wifi turned off?|are my chats uploaded to the cloud?|do I need to be online?",
        say_en="Yes, qwip works offline. Everything runs on your own machine and nothing is sent over the network.",
        do_zh="离线使用 qwip|在没有网络的情况下使用|断网使用",
        ask_zh="qwip 是离线的吗|qwip 需要联网吗|需要网络吗|没有网络能用吗|断网还能用吗|我的数据会上传吗|聊天内容会发到服务器吗"
        "|会不会泄露隐私|是在本地运行的吗|必须连接互联网吗|在飞机上能用吗|对话会上传到云端吗",
        say_zh="可以离线使用。一切都在你自己的机器上运行，不会向网络发送任何数据。")),
    ("chat", dict(
        do_en="chat with a model|start a chat|talk to a model|have a conversation|start chatting|open an interactive chat"
        "|begin a conversation with a model|chat in the terminal",
        ask_en="how to chat?|which command starts a chat?|how do i talk to my model|chat command?|what does qwip chat do?"
        "|where can I talk with the model?|how can I have a dialogue with it?|interactive mode?",
        say_en="Run `qwip chat model.gguf`. Without a file, `qwip chat` starts the built-in demonstration model.",
        do_zh="和模型聊天|开始聊天|与模型对话|开始对话|跟模型说话|进入交互模式|开始一次对话",
        ask_zh="聊天用什么命令|怎么聊天|如何对话|qwip chat 是做什么的|交互式对话怎么开|想和模型聊聊怎么办",
        say_zh="运行 `qwip chat model.gguf`。不写文件时，`qwip chat` 会启动内置的演示模型。")),
    ("run", dict(
        do_en="run a single prompt|run one prompt|get one answer and exit|run a prompt without chatting|send a single question"
        "|run a one-shot prompt|ask one question from the command line|generate text from a prompt|use qwip non-interactively",
        ask_en="what does qwip run do?|how to run a prompt?|one shot prompt?|which command answers just one prompt?"
        "|how do I use a model in a script?|how do I pass a prompt on the command line?|what is the -p flag for?",
        say_en="Use `qwip run model.gguf -p \"your prompt\"`. It prints one answer and exits.",
        do_zh="运行一个提示词|只问一个问题|执行单个提示|不聊天只生成一次|在脚本里使用模型|在命令行里提问|根据提示生成文本",
        ask_zh="qwip run 是做什么的|怎么运行一条提示|单次提问用什么命令|只要一个回答怎么办|-p 参数有什么用|命令行里怎么传提示词",
        say_zh="用 `qwip run model.gguf -p \"你的提示\"`，它输出一个回答后退出。")),
    ("convert", dict(
        do_en="convert a checkpoint|convert a Hugging Face model|turn a checkpoint into GGUF|make a GGUF file"
        "|convert safetensors to gguf|create a gguf from a checkpoint|import a Hugging Face checkpoint|convert a model",
        ask_en="what does qwip convert do?|how to convert?|i have a safetensors model, what now?|which command converts a checkpoint?"
        "|how do I get a gguf out of a checkpoint directory?|can qwip read safetensors?|do I need Python to convert a model?"
        "|i fine-tuned a qwen model, how do I load it?",
        say_en="Use `qwip convert CHECKPOINT_DIR -o model.gguf --type f16`. It reads a Hugging Face directory; Python is not needed.",
        do_zh="转换检查点|转换模型|把检查点转换成 GGUF|把 safetensors 转成 gguf|生成 GGUF 文件|导入 Hugging Face 模型|转换一个模型",
        ask_zh="qwip convert 是做什么的|怎么转换|用哪个命令转换检查点|我有一个 safetensors 模型怎么办|转换模型需要 Python 吗"
        "|qwip 能读 safetensors 吗|怎么从检查点目录得到 gguf|微调后的模型怎么加载",
        say_zh="用 `qwip convert CHECKPOINT_DIR -o model.gguf --type f16`。它读取 Hugging Face 目录，不需要 Python。")),
    ("quantize", dict(
        do_en="quantize a model|quantize my checkpoint|make a model smaller|make a quantized file|shrink a model|compress a model"
        "|get a 4-bit model|produce a q4_0 file|reduce the size of a model|quantise a model|make a q8_0 model",
        ask_en="how to quantize?|is there a quantize command?|what is the command for quantization?|my model is too big, how do I make it smaller?"
        "|can qwip quantize?|i want 4 bit weights|how can I save memory with quantization?",
        say_en="Convert the checkpoint and choose a quantized type in one step: `qwip convert CHECKPOINT_DIR -o model.gguf --type q4_0` (or q8_0 for more precision).",
        do_zh="量化模型|量化一个模型|把模型变小|压缩模型|得到 4 位模型|生成 q4_0 文件|减小模型体积|做一个 q8_0 模型",
        ask_zh="怎么量化|有量化命令吗|量化用什么命令|模型太大了怎么变小|qwip 能量化吗|我想要 4 位权重|怎样用量化节省内存",
        say_zh="转换检查点时直接选择量化类型：`qwip convert CHECKPOINT_DIR -o model.gguf --type q4_0`（要更精确就用 q8_0）。")),
    ("types", dict(
        it_en="the supported types|the quantization types|the list of types|the --type option|the available output types",
        ask_en="which types does qwip convert support?|what types can I choose?|which quantization formats are available?"
        "|what values can --type take?|which quantization types exist?|list the types|what formats can convert write?"
        "|what are the possible output types?|which data types are supported?",
        say_en="`qwip convert --type` accepts f32, f16, bf16, q8_0 and q4_0.",
        it_zh="支持的类型|量化类型|--type 选项|可选的输出类型",
        ask_zh="支持哪些类型|有哪些量化类型|--type 可以取什么值|可以选什么类型|列出所有类型|convert 能写哪些格式|支持哪些数据类型|量化格式有哪些",
        say_zh="`qwip convert --type` 可以是 f32、f16、bf16、q8_0 和 q4_0。")),
    ("which_type", dict(
        do_en="choose a type|choose between q4_0 and q8_0|pick the right quantization type",
        ask_en="which type should I choose?|which quantization is best?|q4_0 or q8_0?|what type do you recommend?|should I use q8_0 or q4_0?"
        "|which is better, q4_0 or q8_0?|what quantization should i pick?|is q8_0 better than q4_0?|best type for my laptop?|difference between q4_0 and q8_0?",
        say_en="Choose q8_0 when it fits in memory: it is almost as exact as f16. Choose q4_0 when size and speed matter more.",
        do_zh="选择类型|在 q4_0 和 q8_0 之间选择|选择合适的量化类型",
        ask_zh="应该选哪种类型|哪种量化最好|q4_0 还是 q8_0|推荐用什么类型|q4_0 和 q8_0 哪个好|q4_0 和 q8_0 有什么区别|该用哪种量化|笔记本用哪种类型好",
        say_zh="内存够就选 q8_0，它几乎和 f16 一样精确；更看重体积和速度就选 q4_0。")),
    ("show", dict(
        do_en="show a file's metadata|see the metadata of a model|inspect a gguf file|look inside a gguf file|list the tensors of a file"
        "|print information about a model|see what is in a model file|check the architecture of a file|view model details",
        ask_en="what does qwip show do?|how to see model info?|which command prints metadata?|metadata of a gguf?|how many layers does my file have?"
        "|how can I find out the parameters of a model file?|where do I see the quantization type of a file?",
        say_en="Use `qwip show model.gguf`. It prints the metadata and the tensors of the file.",
        do_zh="查看文件的元数据|查看模型信息|查看 gguf 文件的内容|列出文件里的张量|检查模型文件|显示模型的元数据|看模型有多少层",
        ask_zh="qwip show 是做什么的|怎么看模型信息|用什么命令看元数据|怎么知道文件的架构|怎么看文件的量化类型|模型文件里有什么怎么看",
        say_zh="用 `qwip show model.gguf`，它会显示文件的元数据和张量。")),
    ("tokenize", dict(
        do_en="tokenize a text|see the tokens of a text|count tokens|get token ids|split text into tokens|print the token ids of a sentence"
        "|turn text into token ids|see how a sentence is tokenized",
        ask_en="what does qwip tokenize do?|how to tokenize?|how many tokens is my text?|which command shows tokens?|how do i get the ids of tokens?"
        "|what is the --ids flag for?|how can I test the tokenizer?",
        say_en="Use `qwip tokenize model.gguf \"some text\"`. Add `--ids` to print only the token ids.",
        do_zh="对文本分词|查看文本的 token|数 token|得到 token 编号|把文字变成 token|看一句话怎么分词|统计 token 数量",
        ask_zh="qwip tokenize 是做什么的|怎么分词|我的文本有多少 token|用什么命令看 token|--ids 有什么用|怎么测试分词器",
        say_zh="用 `qwip tokenize model.gguf \"文字\"`。加上 `--ids` 只输出 token 编号。")),
    ("logits", dict(
        do_en="evaluate logits|get the logits of a model|save logits to a file|export logits|compute the logits|write logits as npy|compare logits with another program",
        ask_en="what does qwip eval do?|how to get logits?|which command writes logits?|logits to numpy?|how can I see raw model outputs?|can qwip write an npy file?"
        "|what is eval logits?|how do I get the raw scores of every token?",
        say_en="Use `qwip eval logits model.gguf --tokens FILE -o out.npy`. It writes float32 logits, one row per token.",
        do_zh="计算 logits|得到模型的 logits|把 logits 存成文件|导出 logits|把 logits 写成 npy|比较 logits",
        ask_zh="qwip eval 是做什么的|怎么得到 logits|用什么命令输出 logits|能导出 npy 文件吗|eval logits 是什么|怎么看模型的原始输出",
        say_zh="用 `qwip eval logits model.gguf --tokens FILE -o out.npy`，它写出 float32 的 logits，每个 token 一行。")),
    ("bench", dict(
        do_en="measure the speed|benchmark a model|run a benchmark|measure tokens per second|test how fast my machine is|see how fast a model runs|measure performance",
        ask_en="what does qwip bench do?|how to benchmark?|how fast is it?|which command measures speed?|how many tokens per second do I get?|how do I know the speed on my computer?"
        "|how can I test performance?",
        say_en="Use `qwip bench model.gguf`. It prints tokens per second for the prompt and for generation.",
        do_zh="测速度|测试性能|运行基准测试|测量每秒 token 数|看模型跑得多快|做基准测试|测试我的电脑有多快",
        ask_zh="qwip bench 是做什么的|怎么测速|用什么命令测速度|每秒能生成多少 token|速度怎么样|怎么知道运行速度",
        say_zh="用 `qwip bench model.gguf`，它显示处理提示和生成时每秒的 token 数。")),
    ("synthetic", dict(
        do_en="benchmark without a model file|benchmark without a download|test the speed without downloading a model|make a synthetic model|create a model with random weights"
        "|measure speed with no model",
        it_en="a synthetic model|the --synthetic option|--synthetic",
        ask_en="can I benchmark if I have no model?|what does --synthetic do?|benchmark with random weights?|how to save a synthetic model?|is there a fake model for tests?",
        say_en="Use `qwip bench --synthetic qwen2.5-0.5b:q4_0`. It makes a model of the real shape with random weights; `--save FILE` keeps it.",
        do_zh="不下载模型就测速|没有模型文件时测速|生成合成模型|用随机权重测试|创建随机权重的模型",
        it_zh="合成模型|--synthetic 选项|--synthetic",
        ask_zh="没有模型能测速吗|--synthetic 有什么用|怎么保存合成模型|用随机权重测速度怎么做|没下载模型怎么做基准测试",
        say_zh="用 `qwip bench --synthetic qwen2.5-0.5b:q4_0`。它用随机权重生成真实形状的模型，`--save FILE` 可以保存。")),
    ("doctor", dict(
        do_en="check my machine|check that qwip works here|see what my CPU supports|diagnose a problem|see which kernels are used|check my hardware|find out if my computer is supported",
        ask_en="what does qwip doctor do?|what is doctor?|is my cpu supported?|which instruction set is used on my machine?|something is wrong, how do I check?|how do I know whether AVX2 is used?|diagnostics?|self test?",
        say_en="Run `qwip doctor`. It shows your CPU and the kernels in use and checks them against the reference.",
        do_zh="检查我的机器|检查 qwip 能否正常工作|看 CPU 支持什么|诊断问题|看用了哪些内核|检查硬件",
        ask_zh="qwip doctor 是做什么的|doctor 是什么|我的 CPU 支持吗|怎么知道用了哪个指令集|出问题了怎么检查|怎么自检|我的电脑能用吗",
        say_zh="运行 `qwip doctor`，它显示 CPU 和正在使用的内核，并与参考实现对照检查。")),
    ("get_model", dict(
        do_en="get a real model|download a model|download a Qwen model|find a bigger model|get a better model|obtain a real Qwen model|install a model|use a real model",
        ask_en="where do I get a model?|where can I download models?|how to get a better model than this one?|you are too small, I want a real model|can qwip download models?|is there a pull command?"
        "|where are the model files?|which model should I download first?|i have no model, what should I do?",
        say_en="Download a Qwen GGUF file with any downloader, then run `qwip chat model.gguf`. A Hugging Face checkpoint works too, after `qwip convert`.",
        do_zh="得到真正的模型|下载模型|下载 Qwen 模型|获取更大的模型|获得更好的模型|安装模型|使用真正的模型",
        ask_zh="模型从哪里下载|去哪里找模型|怎样得到更好的模型|你太小了，我要真正的模型|qwip 能下载模型吗|有 pull 命令吗|模型文件在哪里|我没有模型怎么办",
        say_zh="用任何下载工具下载一个 Qwen 的 GGUF 文件，然后运行 `qwip chat model.gguf`。Hugging Face 检查点先用 `qwip convert` 转换也可以。")),
    ("threads", dict(
        do_en="set the number of threads|use more threads|use fewer cores|change the thread count|limit the CPU cores|use 4 threads|control how many cores are used",
        ask_en="what does -t do?|how many threads does qwip use?|what is the threads option?|thread flag?|can I use all my cores?|does qwip use multiple cores?|it uses too much cpu, what can I do?",
        say_en="Use `-t N`, for example `-t 4`. By default qwip uses no more threads than the cores it may use.",
        do_zh="设置线程数|用更多线程|少用几个核心|改变线程数量|限制 CPU 核心|使用 4 个线程",
        ask_zh="-t 是什么意思|qwip 用多少线程|线程选项是什么|怎样指定线程|能用所有核心吗|是多核的吗|占用 CPU 太多怎么办",
        say_zh="用 `-t N`，例如 `-t 4`。默认的线程数不超过可用的核心数。")),
    ("context", dict(
        do_en="set the context length|increase the context size|change the context window|use a longer context|make the context larger|limit the context",
        ask_en="what does -c do?|how long can the conversation be?|what is the context flag?|how much text can the model remember?|context window size option?|how do i get a longer memory?|my text is too long for the context",
        it_en="the context length|the context window|the -c option",
        say_en="The context length is how many tokens the model can see at once. Set it with `-c N`, for example `-c 4096`.",
        do_zh="设置上下文长度|增加上下文|改变上下文窗口|使用更长的上下文|限制上下文长度",
        it_zh="上下文长度|上下文窗口|-c 选项",
        ask_zh="-c 是什么意思|对话能有多长|模型能记住多少文字|上下文用什么选项|文本太长超出上下文怎么办|怎么让它记得更多",
        say_zh="上下文长度是模型一次能看到的 token 数。用 `-c N` 设置，例如 `-c 4096`。")),
    ("memory", dict(
        do_en="reduce memory use|save memory|use less RAM|know how much memory is needed|lower the memory usage",
        ask_en="how much memory does qwip need?|how much RAM do I need?|what are the memory requirements?|is 8 GB of ram enough?|why is the memory use so low?|how much ram does a model take?|does qwip copy the model into memory?|memory needed?",
        say_en="About the size of the file plus the KV cache. The file is mapped, not copied; a smaller type such as q4_0 needs less memory.",
        do_zh="减少内存占用|节省内存|少用内存|知道需要多少内存|降低内存使用",
        ask_zh="qwip 需要多少内存|要多少 RAM|内存要求是什么|8 GB 内存够吗|内存占用多大|模型占多少内存|会把模型复制到内存吗",
        say_zh="大约是文件大小加上 KV 缓存。文件是映射的，不复制；q4_0 这样的小类型需要的内存更少。")),
    ("ngen", dict(
        do_en="limit the length of the answer|set the maximum number of tokens|get shorter answers|get a longer answer|stop after 100 tokens|limit the output length",
        ask_en="what does -n do?|the answer is too long, how can I limit it?|max tokens option?|how many tokens are generated?|which flag limits generated tokens?|what is the -n flag?",
        say_en="Use `-n N` to generate at most N tokens, for example `-n 100`. `-n 0` only evaluates the prompt.",
        do_zh="限制回答的长度|设置最大 token 数|让回答短一点|让回答更长|生成 100 个 token 后停止|限制输出长度",
        ask_zh="-n 是什么意思|回答太长怎么限制|最多生成多少 token|用什么选项限制生成长度|-n 选项有什么用",
        say_zh="用 `-n N` 最多生成 N 个 token，例如 `-n 100`。`-n 0` 只计算提示。")),
    ("batch", dict(
        it_en="the -b option|the batch size|the prompt slice",
        ask_en="what does -b do?|what is -b?|how do I set the batch size?|batch size flag?|does the batch size change the answer?|how do i change the prompt batch",
        say_en="`-b N` is how many prompt tokens are processed at once. It changes speed and memory, never the answer.",
        it_zh="-b 选项|批大小|批量大小",
        ask_zh="-b 是什么意思|怎么设置批大小|批大小会影响答案吗|-b 有什么用|批量大小怎么改",
        say_zh="`-b N` 是一次处理多少个提示 token。它只影响速度和内存，不影响答案。")),
    ("seed", dict(
        do_en="set the seed|get the same answer every time|make answers reproducible|fix the random seed|repeat an answer exactly",
        it_en="the seed|a random seed|the --seed option",
        ask_en="what does -s do?|what is --seed for?|why is the answer different each time?|how to get deterministic output?|seed flag?|how can I reproduce a result?",
        say_en="The seed starts the random choice of tokens: with the same `--seed N` the answer is the same every time.",
        do_zh="设置种子|每次得到相同的答案|让结果可以重现|固定随机种子|重复同样的回答",
        it_zh="种子|随机种子|--seed 选项|seed",
        ask_zh="-s 是什么意思|--seed 有什么用|为什么每次答案不同|怎么得到确定的输出|怎么复现结果",
        say_zh="种子决定随机选择 token 的起点：用同样的 `--seed N`，每次答案都相同。")),
    ("temperature", dict(
        do_en="set the temperature|make answers more creative|make answers less random|change the temperature|use greedy decoding|turn sampling off|make the output more random",
        it_en="temperature|the temperature|the --temp option|sampling temperature",
        ask_en="what does --temp do?|which temperature should I use?|how can I get less random output?|what does temperature 0 mean?|temp flag?|the answers are boring, how to make them more creative?",
        say_en="Temperature sets how random the answer is. Use `--temp 0.7`; `--temp 0` always takes the most likely token.",
        do_zh="设置温度|让回答更有创意|让回答更稳定|改变温度|使用贪心解码|关闭随机采样|让输出更随机",
        it_zh="温度|温度参数|--temp 选项|采样温度",
        ask_zh="--temp 有什么用|温度应该设多少|温度 0 是什么意思|怎么减少随机性|回答太死板怎么办|温度是做什么的",
        say_zh="温度决定回答的随机程度。用 `--temp 0.7`；`--temp 0` 总是选最可能的 token。")),
    ("top_k", dict(
        do_en="set top-k|use top-k sampling|change top-k",
        it_en="top-k|top k|the --top-k option|top-k sampling",
        ask_en="what does --top-k do?|which top-k is good?|what does top k mean?|top k flag?|what's a good value for top-k",
        say_en="Top-k keeps only the k most likely tokens. Set it with `--top-k 20`.",
        do_zh="设置 top-k|使用 top-k 采样|修改 top-k",
        it_zh="top-k|top k|--top-k 选项|top-k 采样",
        ask_zh="--top-k 有什么用|top-k 设多少好|top-k 的作用是什么",
        say_zh="top-k 只保留最可能的 k 个 token。用 `--top-k 20` 设置。")),
    ("top_p", dict(
        do_en="set top-p|use nucleus sampling|change top-p",
        it_en="top-p|top p|the --top-p option|nucleus sampling|top-p sampling",
        ask_en="what does --top-p do?|which top-p is good?|what does top p mean?|top p flag?|what's a good value for top-p",
        say_en="Top-p keeps the most likely tokens until their probabilities add up to p. Set it with `--top-p 0.8`.",
        do_zh="设置 top-p|使用核采样|修改 top-p",
        it_zh="top-p|top p|--top-p 选项|核采样|top-p 采样",
        ask_zh="--top-p 有什么用|top-p 设多少好|top-p 的作用是什么",
        say_zh="top-p 保留概率之和达到 p 的最可能的 token。用 `--top-p 0.8` 设置。")),
    ("min_p", dict(
        do_en="set min-p|use min-p sampling", it_en="min-p|min p|the --min-p option",
        ask_en="what does --min-p do?|which min-p is good?|what does min p mean?|min p flag?",
        say_en="Min-p drops tokens whose probability is below p times that of the best token. Set it with `--min-p 0.05`.",
        do_zh="设置 min-p|使用 min-p 采样", it_zh="min-p|min p|--min-p 选项",
        ask_zh="--min-p 有什么用|min-p 设多少好|min-p 的作用是什么",
        say_zh="min-p 去掉概率低于最佳 token 的 p 倍的 token。用 `--min-p 0.05` 设置。")),
    ("repeat", dict(
        do_en="stop the model from repeating itself|avoid repetition|reduce repeated text|set the repeat penalty|prevent loops in the answer",
        it_en="the repeat penalty|--repeat-penalty|the repetition penalty",
        ask_en="the model repeats itself, what can I do?|why does it say the same thing again and again?|what does --repeat-penalty do?|it loops forever, how do i fix that?|repetition penalty flag?",
        say_en="Use `--repeat-penalty 1.05`: tokens that were used already become less likely, so the text repeats less.",
        do_zh="防止模型重复|避免重复|减少重复内容|设置重复惩罚|防止回答循环",
        it_zh="重复惩罚|--repeat-penalty 选项|--repeat-penalty",
        ask_zh="模型一直重复怎么办|为什么总说同样的话|--repeat-penalty 有什么用|回答陷入循环怎么办",
        say_zh="用 `--repeat-penalty 1.05`：用过的 token 会变得不那么可能，文字就少重复。")),
    ("system", dict(
        do_en="set a system prompt|give the model a role|use a system message|tell the model how to behave|give standing instructions|change the persona",
        it_en="a system prompt|the system prompt|the system message|the -sys option",
        ask_en="what does -sys do?|how to make it answer like a pirate?|can I set the behaviour of the model?|system prompt flag?|where do I put instructions for the whole chat?",
        say_en="A system prompt tells the model how to behave. Set it with `-sys`: `qwip chat model.gguf -sys \"Answer briefly.\"`.",
        do_zh="设置系统提示|给模型一个角色|使用系统消息|告诉模型怎么表现|改变模型的角色|设定整个对话的规则",
        it_zh="系统提示|系统提示词|系统消息|-sys 选项",
        ask_zh="-sys 有什么用|怎么让它扮演角色|怎么规定模型的行为|系统提示词用什么选项",
        say_zh="系统提示告诉模型该怎么做。用 `-sys` 设置：`qwip chat model.gguf -sys \"请简短回答。\"`。")),
    ("think", dict(
        do_en="turn thinking off|turn thinking on|disable thinking|enable thinking|make the model think first|switch off reasoning|skip the reasoning|control the thinking mode",
        it_en="thinking mode|the --think option|thinking",
        ask_en="what does --think do?|can I see the model's reasoning?|how to stop it from thinking?|thinking flag?|is there a reasoning mode?|why does it think before answering?|what is the think block?",
        say_en="Use `--think on`, `--think off` or `--think auto`. When thinking is on, the model reasons in a think block before it answers.",
        do_zh="关闭思考|打开思考|禁用思考|启用思考|让模型先思考|关掉推理|跳过推理过程|控制思考模式",
        it_zh="思考模式|--think 选项|思考",
        ask_zh="--think 有什么用|能看到模型的推理吗|怎么让它不要思考|有推理模式吗|为什么回答前要思考",
        say_zh="用 `--think on`、`--think off` 或 `--think auto`。打开思考时，模型会先在思考块里推理再回答。")),
    ("json", dict(
        do_en="get JSON output|print the result as JSON|get machine readable output|use qwip from a program|parse the output of qwip",
        it_en="the --json option|the --json flag",
        ask_en="what does --json do?|can qwip print json?|json output?|is there a machine-readable format?|how can my script read the answer?",
        say_en="Add `--json`: `qwip run model.gguf -p \"...\" --json` prints the answer as JSON.",
        do_zh="得到 JSON 输出|以 JSON 打印结果|得到机器可读的输出|在程序里使用 qwip|解析 qwip 的输出",
        it_zh="--json 选项|--json 参数",
        ask_zh="--json 有什么用|qwip 能输出 JSON 吗|有机器可读的格式吗|怎样让脚本读取回答",
        say_zh="加上 `--json`：`qwip run model.gguf -p \"...\" --json` 以 JSON 输出回答。")),
    ("raw", dict(
        do_en="skip the chat template|send a prompt without the chat template|use a base model|complete text without a template|do plain text completion",
        it_en="the --raw option|the --raw flag|raw mode",
        ask_en="what does --raw do?|can I turn the template off?|how to complete plain text?|raw prompt?|how do i use a base model instead of a chat model?",
        say_en="Add `--raw` to `qwip run`: the prompt goes to the model as it is, without the chat template.",
        do_zh="跳过聊天模板|不用聊天模板发送提示|使用基础模型|不套模板续写文本|做纯文本续写",
        it_zh="--raw 选项|--raw 参数|原始模式",
        ask_zh="--raw 有什么用|可以关掉模板吗|怎么续写纯文本|基础模型怎么用",
        say_zh="给 `qwip run` 加上 `--raw`：提示原样交给模型，不套聊天模板。")),
    ("file_stdin", dict(
        do_en="read the prompt from a file|pipe text into qwip|use stdin|read a prompt from standard input|use qwip in a pipe|summarize a file|send a text file as the prompt",
        ask_en="what does -f do?|can I pipe text into it?|does qwip read stdin?|pipe input?|how do I use a long prompt from a file?|cat file piped into qwip?|does it work in shell pipelines?",
        say_en="Use `qwip run model.gguf -f prompt.txt`, or pipe it: `cat prompt.txt | qwip run model.gguf`.",
        do_zh="从文件读取提示|用管道把文字传给 qwip|使用标准输入|从标准输入读提示|在管道里使用 qwip|把文本文件作为提示",
        ask_zh="-f 是什么意思|能用管道吗|qwip 读取标准输入吗|很长的提示怎么从文件读|支持 stdin 吗|管道输入怎么用",
        say_zh="用 `qwip run model.gguf -f prompt.txt`，或者用管道：`cat prompt.txt | qwip run model.gguf`。")),
    ("exit_codes", dict(
        it_en="the exit codes|the exit status|an exit code of 2|exit code 1|exit code 130",
        ask_en="which exit codes does qwip use?|what does exit code 2 mean?|what exit code do I get on an error?|what does qwip return on failure?|how can a script see that qwip failed?|list the exit codes",
        say_en="0 is success, 2 is a wrong call, 1 is any other error, and an interrupted `qwip run` exits with 130.",
        it_zh="退出码|退出状态|退出码 2|退出码 1|返回码",
        ask_zh="qwip 有哪些退出码|退出码 2 是什么意思|出错时返回什么|脚本怎么知道 qwip 失败了|列出退出码|返回值是多少",
        say_zh="0 表示成功，2 表示调用错误，1 表示其他错误，被中断的 `qwip run` 返回 130。")),
    ("env", dict(
        do_en="set options with environment variables|configure qwip through the environment|set defaults for qwip",
        it_en="the environment variables|QWIP environment variables",
        ask_en="which environment variables does qwip read?|can I set flags in the environment?|environment variables?|is there an env var for the threads?|list the env variables|how do I set a default option?",
        say_en="Every flag can also be set in the environment with a name that starts with `QWIP_`, for example `QWIP_ISA`.",
        do_zh="用环境变量设置选项|通过环境变量配置 qwip|设置 qwip 的默认值",
        it_zh="环境变量|QWIP 环境变量",
        ask_zh="qwip 有哪些环境变量|可以用环境变量设置参数吗|有环境变量吗|怎么设置默认选项|qwip 读取哪些环境变量",
        say_zh="每个选项也可以用环境变量设置，名字以 `QWIP_` 开头，例如 `QWIP_ISA`。")),
    ("isa", dict(
        do_en="force a kernel set|force the scalar kernels|choose the instruction set|disable AVX-512|use avx2 kernels|select the SIMD kernels",
        it_en="QWIP_ISA|the QWIP_ISA variable",
        ask_en="what does QWIP_ISA do?|which values can QWIP_ISA have?|how to use the scalar code?|can I pick the instruction set?|how do I turn off avx512?",
        say_en="Set `QWIP_ISA` to scalar, avx2, avx512vnni, neon, dotprod or i8mm. Empty means that qwip detects the best one.",
        do_zh="指定内核|强制使用标量内核|选择指令集|禁用 AVX-512|使用 avx2 内核|选择 SIMD 内核",
        it_zh="QWIP_ISA|QWIP_ISA 变量",
        ask_zh="QWIP_ISA 有什么用|QWIP_ISA 可以取什么值|怎么用标量代码|能选择指令集吗|怎么关掉 avx512",
        say_zh="把 `QWIP_ISA` 设为 scalar、avx2、avx512vnni、neon、dotprod 或 i8mm；留空时自动检测。")),
    ("kv_type", dict(
        do_en="make the KV cache smaller|change the type of the KV cache|quantize the KV cache|store the cache in q8_0|shrink the cache",
        it_en="-ctk|-ctv|the -ctk option|the -ctv option|the cache type",
        ask_en="what do -ctk and -ctv do?|which types can the cache have?|kv cache type flag?|what does -ctk mean?|how to use less memory for a long context?",
        say_en="Use `-ctk` and `-ctv` for the keys and values of the KV cache: f16 (the default), f32 or q8_0, which is smaller.",
        do_zh="让 KV 缓存更小|改变 KV 缓存的类型|量化 KV 缓存|用 q8_0 存缓存",
        it_zh="-ctk|-ctv|-ctk 选项|-ctv 选项|缓存类型",
        ask_zh="-ctk 和 -ctv 有什么用|缓存可以是什么类型|-ctk 是什么意思|长上下文怎么省内存",
        say_zh="用 `-ctk` 和 `-ctv` 设置 KV 缓存中键和值的类型：f16（默认）、f32 或更小的 q8_0。")),
    ("mmap_off", dict(
        do_en="turn off mmap|disable memory mapping|load the file without mapping|read the whole file into memory",
        it_en="--no-mmap|the --no-mmap option",
        ask_en="what does --no-mmap do?|when should I use --no-mmap?|can I load the model without mmap?|how to avoid mmap?",
        say_en="Use `--no-mmap`: the file is then read into memory instead of mapped, which is safer when the file may change.",
        do_zh="关闭 mmap|禁用内存映射|不用映射加载文件|把整个文件读进内存",
        it_zh="--no-mmap|--no-mmap 选项",
        ask_zh="--no-mmap 有什么用|什么时候用 --no-mmap|能不用 mmap 加载吗",
        say_zh="用 `--no-mmap`：文件会读入内存而不是映射，文件可能变化时更安全。")),
    ("mlock", dict(
        do_en="lock the model in memory|keep the model from being swapped out|prevent swapping|pin the model in RAM",
        it_en="--mlock|the --mlock option|mlock",
        ask_en="what does --mlock do?|how can I stop the system from swapping the model?|when is mlock useful?|how to keep weights in ram?",
        say_en="Use `--mlock`: it locks the model in memory, so that the system does not swap it out.",
        do_zh="把模型锁在内存里|防止模型被换出|防止使用交换区|让模型常驻内存",
        it_zh="--mlock|--mlock 选项|mlock",
        ask_zh="--mlock 有什么用|怎么防止系统换出模型|什么时候需要 mlock",
        say_zh="用 `--mlock`：它把模型锁在内存里，系统就不会把它换出。")),
    ("stop", dict(
        do_en="stop an answer|interrupt the answer|cancel generation|stop the model while it is writing|abort a long answer",
        ask_en="what does ctrl-c do?|does ctrl-c end the chat?|it won't stop talking|can I interrupt it?|what happens when I press ctrl+c?",
        say_en="Press Ctrl-C. It stops the answer, not the chat; `qwip run` then exits with 130.",
        do_zh="停止回答|中断回答|取消生成|让模型停下来|中止很长的回答",
        ask_zh="ctrl-c 有什么用|ctrl-c 会结束聊天吗|它说个不停怎么办|能打断它吗|按 ctrl+c 会怎样",
        say_zh="按 Ctrl-C。它只停止这次回答，不结束聊天；`qwip run` 会以 130 退出。")),
    ("help", dict(
        do_en="see all options|get help|list the commands|see the help text|find the options of a command",
        it_en="the list of commands|the commands",
        ask_en="which commands are there?|what commands does qwip have?|what can I type?|is there a manual?|help|show me the help|i need help|where is the documentation?|how do I use qwip?|how do I get started?",
        say_en="The commands are chat, run, convert, show, tokenize, eval, bench and doctor. `qwip --help` and `qwip COMMAND --help` list the options.",
        do_zh="查看所有选项|获得帮助|列出命令|查看帮助文字|查看某个命令的选项",
        it_zh="命令列表|有哪些命令",
        ask_zh="有哪些命令|qwip 有什么命令|有说明书吗|帮助|我需要帮助|文档在哪里|怎么使用 qwip|怎么开始|怎么入门|请帮帮我",
        say_zh="命令有 chat、run、convert、show、tokenize、eval、bench 和 doctor。`qwip --help` 和 `qwip COMMAND --help` 列出选项。")),
    ("model_arg", dict(
        do_en="tell qwip which model to use|choose the model file|specify a model|pass a model path|select a model",
        it_en="the -m option|the -m flag|the MODEL argument",
        ask_en="what does -m do?|how do I load my own gguf file?|where do I write the file name?|which argument is the model?|how to open a gguf file with qwip?",
        say_en="Give the path of the GGUF file as the first argument or with `-m`: `qwip chat -m model.gguf`.",
        do_zh="告诉 qwip 用哪个模型|选择模型文件|指定模型|传入模型路径",
        it_zh="-m 选项|-m 参数|MODEL 参数",
        ask_zh="-m 是什么意思|怎么加载自己的 gguf 文件|文件名写在哪里|怎么用 qwip 打开 gguf 文件",
        say_zh="把 GGUF 文件的路径作为第一个参数，或用 `-m`：`qwip chat -m model.gguf`。")),
]
