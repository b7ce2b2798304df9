"""Which words say what a text is about: kinds of words, as the segmenters name them, and English words that do not."""

# Sudachi's kinds: nouns, verbs, adjectives; but neither numbers nor verbs that help others.
JAPANESE_CONTENT = ("名詞", "動詞", "形容詞", "形状詞")
JAPANESE_HELPERS = ("数詞", "非自立可能", "助数詞可能", "助動詞語幹")
# Nouns that only carry a sentence on: "the thing that", "the time when".
FORMAL_NOUNS = "こと もの とき ため わけ はず ところ うち ほど まま くらい ぐらい つもり とおり"
JAPANESE_FORMAL_NOUNS = frozenset(FORMAL_NOUNS.split())
# jieba's marks of nouns, verbs, adjectives, idioms, short forms, times and places.
CHINESE_CONTENT = "nvaijts"
# Auxiliaries that it marks as verbs, and "what to do" and "whether", as idioms.
AUXILIARIES = """
应该 應該 可以 可能 能够 能夠 需要 没有 沒有 就是 不是 不能 不会 不會 不了 还有 還有 是否 怎么办 怎麼辦 想要
"""
CHINESE_FUNCTION_WORDS = frozenset(AUXILIARIES.split())
# Pronouns, auxiliaries, prepositions, conjunctions, and what the apostrophe leaves of them.
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
ENGLISH_FUNCTION_WORDS = frozenset(ENGLISH.split())
