package dev.qwip;

/** How the next token is drawn. The model's own settings until set. */
public final class Sampler extends Handle {
    Sampler(long handle) {
        super(handle);
    }

    /** 0: always the likeliest token. */
    public Sampler setTemperature(float temperature) {
        Native.samplerSetTemperature(handle(), temperature);
        return this;
    }

    /** Only the so many likeliest; 0: all. */
    public Sampler setTopK(int tokens) {
        Native.samplerSetTopK(handle(), Text.unsigned("top-k", tokens));
        return this;
    }

    /** Only the likeliest that together have this probability. */
    public Sampler setTopP(float probability) {
        Native.samplerSetTopP(handle(), probability);
        return this;
    }

    /** Only those with this share of the likeliest one's probability. */
    public Sampler setMinP(float share) {
        Native.samplerSetMinP(handle(), share);
        return this;
    }

    /** Divides the logits of tokens that were there; 1: not. */
    public Sampler setRepeatPenalty(float factor) {
        Native.samplerSetRepeatPenalty(handle(), factor);
        return this;
    }

    /** Taken off the logits of tokens that were there. */
    public Sampler setPresencePenalty(float penalty) {
        Native.samplerSetPresencePenalty(handle(), penalty);
        return this;
    }

    /** Taken off the logits of tokens for each time they were there. */
    public Sampler setFrequencyPenalty(float penalty) {
        Native.samplerSetFrequencyPenalty(handle(), penalty);
        return this;
    }

    /** How many of the last tokens the penalties look at; -1: all. */
    public Sampler setPenaltyLastN(int tokens) {
        if (tokens != -1) {
            Text.unsigned("the penalties' reach", tokens);
        }
        Native.samplerSetPenaltyLastN(handle(), tokens);
        return this;
    }

    /** The same draw every time; without one, a new seed each time. All 64 bits count. */
    public Sampler setSeed(long seed) {
        Native.samplerSetSeed(handle(), seed);
        return this;
    }

    /** Draws a token from the session's logits. */
    public int sample(Session session) {
        return Native.samplerSample(handle(), session.handle());
    }

    @Override
    void free(long handle) {
        Native.samplerFree(handle);
    }
}
