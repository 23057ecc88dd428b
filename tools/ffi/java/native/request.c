/* dev.qwip.Native's methods of a request. */
#include "qwip_jni.h"

#include <stdlib.h>

NATIVE(jlong, requestNew)(JNIEnv *env, jclass class, jlong session) {
    (void)class;
    qwip_request *request = NULL;
    if (!qj_ok(env, qwip_request_new(SESSION(session), &request))) return 0;
    return (jlong)(intptr_t)request;
}

NATIVE(void, requestFree)(JNIEnv *env, jclass class, jlong request) {
    (void)class;
    qj_ok(env, qwip_request_free(REQUEST(request)));
}

/* --- settings --- */

static void set_text(JNIEnv *env, jlong request, qwip_status (*set)(qwip_request *, const char *), jbyteArray value) {
    char *text = qj_text(env, value, NULL);
    if (!text) return;
    qj_ok(env, set(REQUEST(request), text));
    free(text);
}

NATIVE(void, requestSetMessages)(JNIEnv *env, jclass class, jlong request, jbyteArray json) {
    (void)class;
    set_text(env, request, qwip_request_set_messages, json);
}

NATIVE(void, requestSetPrompt)(JNIEnv *env, jclass class, jlong request, jbyteArray text) {
    (void)class;
    set_text(env, request, qwip_request_set_prompt, text);
}

NATIVE(void, requestSetTools)(JNIEnv *env, jclass class, jlong request, jbyteArray json) {
    (void)class;
    set_text(env, request, qwip_request_set_tools, json);
}

NATIVE(void, requestSetToolChoice)(JNIEnv *env, jclass class, jlong request, jbyteArray choice) {
    (void)class;
    set_text(env, request, qwip_request_set_tool_choice, choice);
}

NATIVE(void, requestSetParallelToolCalls)(JNIEnv *env, jclass class, jlong request, jboolean on) {
    (void)class;
    qj_ok(env, qwip_request_set_parallel_tool_calls(REQUEST(request), on));
}

NATIVE(void, requestSetJsonSchema)(JNIEnv *env, jclass class, jlong request, jbyteArray schema) {
    (void)class;
    set_text(env, request, qwip_request_set_json_schema, schema);
}

NATIVE(void, requestSetGrammar)(JNIEnv *env, jclass class, jlong request, jbyteArray lark) {
    (void)class;
    set_text(env, request, qwip_request_set_grammar, lark);
}

NATIVE(void, requestSetThinking)(JNIEnv *env, jclass class, jlong request, jint thinking) {
    (void)class;
    qj_ok(env, qwip_request_set_thinking(REQUEST(request), thinking));
}

NATIVE(void, requestSetThinkingBudget)(JNIEnv *env, jclass class, jlong request, jint tokens) {
    (void)class;
    qj_ok(env, qwip_request_set_thinking_budget(REQUEST(request), (uint32_t)tokens));
}

NATIVE(void, requestSetTemplateKwargs)(JNIEnv *env, jclass class, jlong request, jbyteArray json) {
    (void)class;
    set_text(env, request, qwip_request_set_template_kwargs, json);
}

NATIVE(void, requestSetMaxTokens)(JNIEnv *env, jclass class, jlong request, jint tokens) {
    (void)class;
    qj_ok(env, qwip_request_set_max_tokens(REQUEST(request), (uint32_t)tokens));
}

NATIVE(void, requestAddStop)(JNIEnv *env, jclass class, jlong request, jbyteArray text) {
    (void)class;
    set_text(env, request, qwip_request_add_stop, text);
}

NATIVE(void, requestSetIgnoreEos)(JNIEnv *env, jclass class, jlong request, jboolean on) {
    (void)class;
    qj_ok(env, qwip_request_set_ignore_eos(REQUEST(request), on));
}

NATIVE(void, requestSetSampler)(JNIEnv *env, jclass class, jlong request, jlong sampler) {
    (void)class;
    qj_ok(env, qwip_request_set_sampler(REQUEST(request), SAMPLER(sampler)));
}

/* --- running it --- */

NATIVE(void, requestStart)(JNIEnv *env, jclass class, jlong request) {
    (void)class;
    qj_ok(env, qwip_request_start(REQUEST(request), NULL, NULL));
}

NATIVE(jint, requestPoll)(JNIEnv *env, jclass class, jlong request, jlong timeout_millis, jobjectArray out) {
    (void)class;
    int32_t kind = QWIP_EVENT_NONE;
    char *data = NULL;
    qwip_status status = qwip_request_poll(REQUEST(request), timeout_millis, &kind, &data);
    if (status == QWIP_STATUS_TIMEOUT || status == QWIP_STATUS_DONE) return -status;
    if (!qj_ok(env, status)) return 0;
    jbyteArray bytes = qj_take(env, data);
    if (!bytes) return 0;
    (*env)->SetObjectArrayElement(env, out, 0, bytes);
    return (jint)kind;
}

NATIVE(jboolean, requestWait)(JNIEnv *env, jclass class, jlong request, jlong timeout_millis) {
    (void)class;
    qwip_status status = qwip_request_wait(REQUEST(request), timeout_millis);
    if (status == QWIP_STATUS_TIMEOUT) return JNI_FALSE;
    return qj_ok(env, status) ? JNI_TRUE : JNI_FALSE;
}

NATIVE(void, requestCancel)(JNIEnv *env, jclass class, jlong request) {
    (void)class;
    qj_ok(env, qwip_request_cancel(REQUEST(request)));
}

NATIVE(jbyteArray, requestResult)(JNIEnv *env, jclass class, jlong request) {
    (void)class;
    char *json = NULL;
    if (!qj_ok(env, qwip_request_result(REQUEST(request), &json))) return NULL;
    return qj_take(env, json);
}
