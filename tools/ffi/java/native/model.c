/* dev.qwip.Native's methods of a model. */
#include "qwip_jni.h"

#include <stdlib.h>

NATIVE(jlong, modelNew)(JNIEnv *env, jclass class) {
    (void)class;
    qwip_model *model = NULL;
    if (!qj_ok(env, qwip_model_new(&model))) return 0;
    return (jlong)(intptr_t)model;
}

NATIVE(void, modelFree)(JNIEnv *env, jclass class, jlong model) {
    (void)class;
    qj_ok(env, qwip_model_free(MODEL(model)));
}

/* --- settings --- */

NATIVE(void, modelSetThreads)(JNIEnv *env, jclass class, jlong model, jint threads) {
    (void)class;
    qj_ok(env, qwip_model_set_threads(MODEL(model), threads));
}

NATIVE(void, modelSetAffinity)(JNIEnv *env, jclass class, jlong model, jintArray array) {
    (void)class;
    size_t count;
    uint32_t *cores = qj_tokens(env, array, &count);
    if (!cores) return;
    qj_ok(env, qwip_model_set_affinity(MODEL(model), cores, count));
    free(cores);
}

NATIVE(void, modelSetMmap)(JNIEnv *env, jclass class, jlong model, jboolean on) {
    (void)class;
    qj_ok(env, qwip_model_set_mmap(MODEL(model), on));
}

NATIVE(void, modelSetMlock)(JNIEnv *env, jclass class, jlong model, jboolean on) {
    (void)class;
    qj_ok(env, qwip_model_set_mlock(MODEL(model), on));
}

NATIVE(void, modelSetPrefault)(JNIEnv *env, jclass class, jlong model, jboolean on) {
    (void)class;
    qj_ok(env, qwip_model_set_prefault(MODEL(model), on));
}

NATIVE(void, modelSetMemoryLimit)(JNIEnv *env, jclass class, jlong model, jlong bytes) {
    (void)class;
    qj_ok(env, qwip_model_set_memory_limit(MODEL(model), (uint64_t)bytes));
}

NATIVE(void, modelSetGpuLayers)(JNIEnv *env, jclass class, jlong model, jint layers) {
    (void)class;
    qj_ok(env, qwip_model_set_gpu_layers(MODEL(model), layers));
}

NATIVE(void, modelSetProgress)(JNIEnv *env, jclass class, jlong model, jlong key) {
    (void)class;
    qj_ok(env, qwip_model_set_progress(MODEL(model), key ? qj_on_progress : NULL, (void *)(intptr_t)key));
}

/* --- opening --- */

NATIVE(void, modelOpenPath)(JNIEnv *env, jclass class, jlong model, jbyteArray path) {
    (void)class;
    char *text = qj_text(env, path, NULL);
    if (!text) return;
    qj_ok(env, qwip_model_open_path(MODEL(model), text));
    free(text);
}

NATIVE(void, modelOpenFd)(JNIEnv *env, jclass class, jlong model, jint fd, jlong offset, jlong length) {
    (void)class;
    qj_ok(env, qwip_model_open_fd(MODEL(model), fd, (uint64_t)offset, (uint64_t)length));
}

NATIVE(void, modelOpenMemory)
(JNIEnv *env, jclass class, jlong model, jobject buffer, jlong position, jlong length, jlong key) {
    (void)class;
    const char *data = (*env)->GetDirectBufferAddress(env, buffer);
    if (!data) {
        qj_throw(env, QWIP_STATUS_INVALID_ARGUMENT, "the buffer has no address");
        return;
    }
    qj_ok(env, qwip_model_open_memory(MODEL(model), data + position, (size_t)length, qj_on_release, (void *)(intptr_t)key));
}

NATIVE(void, modelLoad)(JNIEnv *env, jclass class, jlong model) {
    (void)class;
    qj_ok(env, qwip_model_load(MODEL(model)));
}

/* --- what it is --- */

NATIVE(jbyteArray, modelInfo)(JNIEnv *env, jclass class, jlong model) {
    (void)class;
    char *json = NULL;
    if (!qj_ok(env, qwip_model_info(MODEL(model), &json))) return NULL;
    return qj_take(env, json);
}

NATIVE(jbyteArray, modelMetadata)(JNIEnv *env, jclass class, jlong model, jbyteArray key) {
    (void)class;
    char *text = qj_text(env, key, NULL);
    if (!text) return NULL;
    char *json = NULL;
    qwip_status status = qwip_model_metadata(MODEL(model), text, &json);
    free(text);
    if (!qj_ok(env, status)) return NULL;
    return qj_take(env, json);
}

NATIVE(jlong, modelMemoryUsed)(JNIEnv *env, jclass class, jlong model) {
    (void)class;
    uint64_t bytes = 0;
    qj_ok(env, qwip_model_memory_used(MODEL(model), &bytes));
    return (jlong)bytes;
}

NATIVE(jlong, modelEstimate)(JNIEnv *env, jclass class, jlong model, jint context, jint kind) {
    (void)class;
    uint64_t bytes = 0;
    qj_ok(env, qwip_model_estimate(MODEL(model), (uint32_t)context, kind, &bytes));
    return (jlong)bytes;
}

/* --- what the host says --- */

NATIVE(void, modelOnMemoryPressure)(JNIEnv *env, jclass class, jlong model, jint level) {
    (void)class;
    qj_ok(env, qwip_model_on_memory_pressure(MODEL(model), level));
}

NATIVE(void, modelOnThermal)(JNIEnv *env, jclass class, jlong model, jint state) {
    (void)class;
    qj_ok(env, qwip_model_on_thermal(MODEL(model), state));
}

NATIVE(void, modelBackground)(JNIEnv *env, jclass class, jlong model) {
    (void)class;
    qj_ok(env, qwip_model_background(MODEL(model)));
}

NATIVE(void, modelForeground)(JNIEnv *env, jclass class, jlong model) {
    (void)class;
    qj_ok(env, qwip_model_foreground(MODEL(model)));
}

/* --- text and tokens --- */

NATIVE(jintArray, modelTokenize)(JNIEnv *env, jclass class, jlong model, jbyteArray text, jint flags) {
    (void)class;
    size_t length, count = 0;
    char *bytes = qj_text(env, text, &length);
    if (!bytes) return NULL;
    /* Mostly a token for several bytes; a second try where there are more tokens than that. */
    size_t capacity = length + 8;
    uint32_t *tokens = NULL;
    qwip_status status = QWIP_STATUS_BUFFER_TOO_SMALL;
    for (int tries = 0; tries < 2 && status == QWIP_STATUS_BUFFER_TOO_SMALL; tries++) {
        free(tokens);
        tokens = qj_alloc(env, capacity, sizeof *tokens);
        if (!tokens) break;
        status = qwip_model_tokenize(MODEL(model), bytes, length, (uint32_t)flags, tokens, capacity, &count);
        capacity = count;
    }
    free(bytes);
    jintArray array = tokens && qj_ok(env, status) ? qj_ints(env, tokens, count) : NULL;
    free(tokens);
    return array;
}

NATIVE(jbyteArray, modelDetokenize)(JNIEnv *env, jclass class, jlong model, jintArray array, jboolean show_special) {
    (void)class;
    size_t count;
    uint32_t *tokens = qj_tokens(env, array, &count);
    if (!tokens) return NULL;
    char *text = NULL;
    qwip_status status = qwip_model_detokenize(MODEL(model), tokens, count, show_special, &text);
    free(tokens);
    if (!qj_ok(env, status)) return NULL;
    return qj_take(env, text);
}

NATIVE(jbyteArray, modelTokenBytes)(JNIEnv *env, jclass class, jlong model, jint token) {
    (void)class;
    uint8_t few[256];
    size_t count = 0;
    qwip_status status = qwip_model_token_bytes(MODEL(model), (uint32_t)token, few, sizeof few, &count);
    if (status != QWIP_STATUS_BUFFER_TOO_SMALL) return qj_ok(env, status) ? qj_bytes(env, few, count) : NULL;
    size_t capacity = count;
    uint8_t *many = qj_alloc(env, capacity, 1);
    if (!many) return NULL;
    status = qwip_model_token_bytes(MODEL(model), (uint32_t)token, many, capacity, &count);
    jbyteArray bytes = qj_ok(env, status) ? qj_bytes(env, many, count) : NULL;
    free(many);
    return bytes;
}

NATIVE(jboolean, modelIsEnd)(JNIEnv *env, jclass class, jlong model, jint token) {
    (void)class;
    int32_t is_end = 0;
    qj_ok(env, qwip_model_is_end(MODEL(model), (uint32_t)token, &is_end));
    return is_end ? JNI_TRUE : JNI_FALSE;
}

NATIVE(jbyteArray, modelApplyTemplate)
(JNIEnv *env, jclass class, jlong model, jbyteArray messages, jbyteArray tools, jint thinking) {
    (void)class;
    char *list = qj_text(env, messages, NULL);
    if (!list) return NULL;
    char *functions = NULL;
    if (tools) {
        functions = qj_text(env, tools, NULL);
        if (!functions) {
            free(list);
            return NULL;
        }
    }
    char *prompt = NULL;
    qwip_status status = qwip_model_apply_template(MODEL(model), list, functions, thinking, &prompt);
    free(functions);
    free(list);
    if (!qj_ok(env, status)) return NULL;
    return qj_take(env, prompt);
}
