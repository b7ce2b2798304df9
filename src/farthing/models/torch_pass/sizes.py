"""How much the pass in torch takes at once; the plan counts with these numbers too, without torch."""

# In longer runs fewer heads are taken at a time, so that the result of attention, before it is copied, is no larger
# than that of a run of this length.
ALL_HEADS_TOKENS = 4096
