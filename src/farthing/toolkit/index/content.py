"""Tells which words say what a text is about, and which words of a query do not count.

It holds kinds of words, as the segmenters name them, and lists of English, Chinese and Japanese words.
"""

# Sudachi's kinds of words that count: nouns, verbs and adjectives, but neither numbers nor verbs that help others.
JAPANESE_CONTENT = ("名詞", "動詞", "形容詞", "形状詞")
JAPANESE_HELPERS = ("数詞", "非自立可能", "助数詞可能", "助動詞語幹")
# Nouns that only carry a sentence on: "the thing that", "the time when".
FORMAL_NOUNS = "こと もの とき ため わけ はず ところ うち ほど まま くらい ぐらい つもり とおり"
JAPANESE_FORMAL_NOUNS = frozenset(FORMAL_NOUNS.split())
# jieba's tags of nouns, verbs, adjectives, idioms, short forms, times and places.
CHINESE_CONTENT = "nvaijts"
# Auxiliaries that jieba tags as verbs; and "what to do" and "whether", which it tags as idioms.
AUXILIARIES = """
应该 應該 可以 可能 能够 能夠 需要 没有 沒有 就是 不是 不能 不会 不會 不了 还有 還有 是否 怎么办 怎麼辦 想要
"""
CHINESE_FUNCTION_WORDS = frozenset(AUXILIARIES.split())
# Chinese words without a meaning of their own, for queries: pronouns, question words, particles, prepositions and
# adverbs.
CHINESE_STOPS = """
怎么 怎么样 怎样 怎么办 如何 什么 哪里 哪儿 哪个 哪些 哪 谁 为什么 为何 多少 几 吗 呢 吧 啊 呀 嘛 了 的 地 得 着 过
怎麼 怎麼樣 怎樣 怎麼辦 什麼 哪裡 哪裏 哪個 為什麼 為何 幾 嗎 嘛 著 過
是 在 有 和 与 或 及 也 都 就 还 又 再 才 很 太 我 你 您 他 她 它 我们 你们 他们 她们 它们 自己 这 那 这个 那个
这些 那些 與 還 我們 你們 他們 她們 它們 這 這個 那個 這些
一 个 一个 一下 不 没 没有 能 会 要 可以 可 想 请 把 被 给 让 从 到 对 向 为 以 于 跟 而 但 但是 如果 因为 所以
個 一個 沒 沒有 會 請 給 讓 從 對 為 於 因為
上 下 里 中 时 后 前 裡 裏 時 後
"""
CHINESE_STOP_WORDS = frozenset(CHINESE_STOPS.split())
# The same for Japanese queries: words such as "what", "where", "this" and "and"; and verbs and adverbs that stand in
# any question.
JAPANESE_STOP_KINDS = ("代名詞", "連体詞", "接続詞", "感動詞")
JAPANESE_STOPS = "どう つく 何 為る 有る 居る 成る 出来る 下さる 教える 事 物 時 為"
JAPANESE_STOP_WORDS = frozenset(JAPANESE_STOPS.split())
# English words without a meaning of their own, for queries: articles, pronouns, auxiliaries, prepositions,
# conjunctions, question words, and what the apostrophe leaves of them.
ENGLISH_STOPS = """
a about after all also am an and any are aren around as at be because been before being between but by can cannot could
couldn d did didn do does doesn doing don done during for from had hadn has hasn have haven having he her here hers him
his how i if in into is isn it its just ll m may me might mine must my myself no nor not of off on only onto or our ours
out over please re s shall she should shouldn so some t than that the their theirs them then there these they this those
through to too under until up us ve very was wasn we were weren what when where which while who whom whose why will with
without won would wouldn you your yours
"""
ENGLISH_STOP_WORDS = frozenset(ENGLISH_STOPS.split())
# Further English words that say nothing of what a text is about, for labels that people read.
ENGLISH = """
a about above after again against all almost already also although always am among an and another any anyone anything
are aren around as at be because been before being below between both but by can cannot could couldn did didn do does
doesn doing don done down during each either else etc ever every everyone everything few for from further get gets
getting go goes going got had hadn has hasn have haven having he her here hers herself him himself his how however if
in into is isn it its itself just let ll like made make makes many may maybe me might mine more most much must my
myself need needs neither never no nobody none nor not nothing now of off often on once one only onto or other others
our ours ourselves out over own per please quite rather re really same shall she should shouldn since so some someone
something somewhat still such than that the their theirs them themselves then there these they thing things this those
though through thus to too toward under until up upon us use used uses using ve very via want wants was wasn way we
well were weren what when where whether which while who whom whose why will with within without won would wouldn yes
yet you your yours yourself
"""
ENGLISH_FUNCTION_WORDS = ENGLISH_STOP_WORDS | frozenset(ENGLISH.split())
