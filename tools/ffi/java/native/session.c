/* dev.qwip.Native's methods of a session and of a sampler. */
#include "qwip_jni.h"

#include <stdlib.h>

NATIVE(jlong, sessionNew)(JNIEnv *env, jclass class, jlong model) {
    (void)class;
    qwip_session *session = NULL;
    if (!qj_ok(env, qwip_session_new(MODEL(model), &session))) return 0;
    return (jlong)(intptr_t)session;
}

NATIVE(void, sessionFree)(JNIEnv *env, jclass class, jlong session) {
    (void)class;
    qj_ok(env, qwip_session_free(SESSION(session)));
}

/* --- settings --- */

NATIVE(void, sessionSetContext)(JNIEnv *env, jclass class, jlong session, jint tokens) {
    (void)class;
    qj_ok(env, qwip_session_set_context(SESSION(session), (uint32_t)tokens));
}

NATIVE(void, sessionSetBatch)(JNIEnv *env, jclass class, jlong session, jint tokens) {
    (void)class;
    qj_ok(env, qwip_session_set_batch(SESSION(session), (uint32_t)tokens));
}

NATIVE(void, sessionSetCacheTypes)(JNIEnv *env, jclass class, jlong session, jint keys, jint values) {
    (void)class;
    qj_ok(env, qwip_session_set_cache_types(SESSION(session), keys, values));
}

NATIVE(void, sessionSetRopeScaling)(JNIEnv *env, jclass class, jlong session, jint kind, jfloat factor) {
    (void)class;
    qj_ok(env, qwip_session_set_rope_scaling(SESSION(session), kind, factor));
}

NATIVE(jlong, sessionEstimate)(JNIEnv *env, jclass class, jlong session, jint kind) {
    (void)class;
    uint64_t bytes = 0;
    qj_ok(env, qwip_session_estimate(SESSION(session), kind, &bytes));
    return (jlong)bytes;
}

NATIVE(void, sessionPrepare)(JNIEnv *env, jclass class, jlong session) {
    (void)class;
    qj_ok(env, qwip_session_prepare(SESSION(session)));
}

/* --- the sequence --- */

NATIVE(jlong, sessionFork)(JNIEnv *env, jclass class, jlong session) {
    (void)class;
    qwip_session *fork = NULL;
    if (!qj_ok(env, qwip_session_fork(SESSION(session), &fork))) return 0;
    return (jlong)(intptr_t)fork;
}

NATIVE(jlong, sessionLength)(JNIEnv *env, jclass class, jlong session) {
    (void)class;
    size_t tokens = 0;
    qj_ok(env, qwip_session_length(SESSION(session), &tokens));
    return (jlong)tokens;
}

NATIVE(void, sessionTruncate)(JNIEnv *env, jclass class, jlong session, jlong tokens) {
    (void)class;
    qj_ok(env, qwip_session_truncate(SESSION(session), (size_t)tokens));
}

NATIVE(void, sessionSave)(JNIEnv *env, jclass class, jlong session, jbyteArray path) {
    (void)class;
    char *text = qj_text(env, path, NULL);
    if (!text) return;
    qj_ok(env, qwip_session_save(SESSION(session), text));
    free(text);
}

NATIVE(void, sessionRestore)(JNIEnv *env, jclass class, jlong session, jbyteArray path) {
    (void)class;
    char *text = qj_text(env, path, NULL);
    if (!text) return;
    qj_ok(env, qwip_session_restore(SESSION(session), text));
    free(text);
}

NATIVE(void, sessionCancel)(JNIEnv *env, jclass class, jlong session) {
    (void)class;
    qj_ok(env, qwip_session_cancel(SESSION(session)));
}

/* --- low level --- */

NATIVE(void, sessionDecode)(JNIEnv *env, jclass class, jlong session, jintArray array) {
    (void)class;
    size_t count;
    uint32_t *tokens = qj_tokens(env, array, &count);
    if (!tokens) return;
    qj_ok(env, qwip_session_decode(SESSION(session), tokens, count));
    free(tokens);
}

NATIVE(jintArray, sessionTokens)(JNIEnv *env, jclass class, jlong session) {
    (void)class;
    size_t count = 0;
    if (!qj_ok(env, qwip_session_tokens(SESSION(session), NULL, 0, &count))) return NULL;
    size_t capacity = count;
    uint32_t *tokens = qj_alloc(env, capacity, sizeof *tokens);
    if (!tokens) return NULL;
    qwip_status status = qwip_session_tokens(SESSION(session), tokens, capacity, &count);
    jintArray array = qj_ok(env, status) ? qj_ints(env, tokens, count) : NULL;
    free(tokens);
    return array;
}

NATIVE(jfloatArray, sessionLogits)(JNIEnv *env, jclass class, jlong session) {
    (void)class;
    size_t count = 0;
    qwip_status status = qwip_session_logits(SESSION(session), NULL, 0, &count);
    if (status != QWIP_STATUS_BUFFER_TOO_SMALL && !qj_ok(env, status)) return NULL;
    size_t capacity = count;
    float *logits = qj_alloc(env, capacity, sizeof *logits);
    if (!logits) return NULL;
    status = qwip_session_logits(SESSION(session), logits, capacity, &count);
    jfloatArray array = qj_ok(env, status) ? qj_floats(env, logits, count) : NULL;
    free(logits);
    return array;
}

NATIVE(jfloatArray, sessionEmbed)(JNIEnv *env, jclass class, jlong session, jbyteArray text, jint dimensions) {
    (void)class;
    size_t length, count = 0;
    char *bytes = qj_text(env, text, &length);
    if (!bytes) return NULL;
    /* Enough for every Qwen, so that one call does; a second one where a model gives a vector for each token. */
    size_t capacity = 8192;
    float *vector = NULL;
    qwip_status status = QWIP_STATUS_BUFFER_TOO_SMALL;
    for (int tries = 0; tries < 2 && status == QWIP_STATUS_BUFFER_TOO_SMALL; tries++) {
        free(vector);
        vector = qj_alloc(env, capacity, sizeof *vector);
        if (!vector) break;
        status = qwip_session_embed(SESSION(session), bytes, length, (uint32_t)dimensions, vector, capacity, &count);
        capacity = count;
    }
    free(bytes);
    jfloatArray array = vector && qj_ok(env, status) ? qj_floats(env, vector, count) : NULL;
    free(vector);
    return array;
}

NATIVE(jdouble, sessionRerank)(JNIEnv *env, jclass class, jlong session, jbyteArray query, jbyteArray document) {
    (void)class;
    char *asked = qj_text(env, query, NULL);
    if (!asked) return 0;
    char *found = qj_text(env, document, NULL);
    if (!found) {
        free(asked);
        return 0;
    }
    double score = 0;
    qj_ok(env, qwip_session_rerank(SESSION(session), asked, found, &score));
    free(found);
    free(asked);
    return score;
}

/* --- sampler --- */

NATIVE(jlong, samplerNew)(JNIEnv *env, jclass class, jlong model) {
    (void)class;
    qwip_sampler *sampler = NULL;
    if (!qj_ok(env, qwip_sampler_new(MODEL(model), &sampler))) return 0;
    return (jlong)(intptr_t)sampler;
}

NATIVE(void, samplerFree)(JNIEnv *env, jclass class, jlong sampler) {
    (void)class;
    qj_ok(env, qwip_sampler_free(SAMPLER(sampler)));
}

NATIVE(void, samplerSetTemperature)(JNIEnv *env, jclass class, jlong sampler, jfloat value) {
    (void)class;
    qj_ok(env, qwip_sampler_set_temperature(SAMPLER(sampler), value));
}

NATIVE(void, samplerSetTopK)(JNIEnv *env, jclass class, jlong sampler, jint value) {
    (void)class;
    qj_ok(env, qwip_sampler_set_top_k(SAMPLER(sampler), (uint32_t)value));
}

NATIVE(void, samplerSetTopP)(JNIEnv *env, jclass class, jlong sampler, jfloat value) {
    (void)class;
    qj_ok(env, qwip_sampler_set_top_p(SAMPLER(sampler), value));
}

NATIVE(void, samplerSetMinP)(JNIEnv *env, jclass class, jlong sampler, jfloat value) {
    (void)class;
    qj_ok(env, qwip_sampler_set_min_p(SAMPLER(sampler), value));
}

NATIVE(void, samplerSetRepeatPenalty)(JNIEnv *env, jclass class, jlong sampler, jfloat value) {
    (void)class;
    qj_ok(env, qwip_sampler_set_repeat_penalty(SAMPLER(sampler), value));
}

NATIVE(void, samplerSetPresencePenalty)(JNIEnv *env, jclass class, jlong sampler, jfloat value) {
    (void)class;
    qj_ok(env, qwip_sampler_set_presence_penalty(SAMPLER(sampler), value));
}

NATIVE(void, samplerSetFrequencyPenalty)(JNIEnv *env, jclass class, jlong sampler, jfloat value) {
    (void)class;
    qj_ok(env, qwip_sampler_set_frequency_penalty(SAMPLER(sampler), value));
}

NATIVE(void, samplerSetPenaltyLastN)(JNIEnv *env, jclass class, jlong sampler, jint value) {
    (void)class;
    qj_ok(env, qwip_sampler_set_penalty_last_n(SAMPLER(sampler), (uint32_t)value));
}

NATIVE(void, samplerSetSeed)(JNIEnv *env, jclass class, jlong sampler, jlong seed) {
    (void)class;
    qj_ok(env, qwip_sampler_set_seed(SAMPLER(sampler), (uint64_t)seed));
}

NATIVE(jint, samplerSample)(JNIEnv *env, jclass class, jlong sampler, jlong session) {
    (void)class;
    uint32_t token = 0;
    qj_ok(env, qwip_sampler_sample(SAMPLER(sampler), SESSION(session), &token));
    return (jint)token;
}
