/* Glue between dev.qwip.Native and libqwip: what every file of it needs, callbacks into Java, the library's own calls.
 * The rules: every JNI call that can fail is checked, no exception is pending while the next one is made, no array is
 * pinned while the library works, and a callback leaves no exception behind. */
#include "qwip_jni.h"

#include <stdlib.h>
#include <string.h>

static JavaVM *vm;
static jclass native_class;
static jclass exception_class;
static jmethodID exception_new; /* (int status, byte[] message) */
static jmethodID on_progress;   /* (long key, long done, long total) -> int */
static jmethodID on_log;        /* (int level, byte[] message) */
static jmethodID on_release;    /* (long key) */

static jclass global_class(JNIEnv *env, const char *name) {
    jclass local = (*env)->FindClass(env, name);
    if (!local) return NULL;
    jclass global = (*env)->NewGlobalRef(env, local);
    (*env)->DeleteLocalRef(env, local);
    return global;
}

/* A thread of the library has no class loader of the app: everything is looked up here. */
JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM *machine, void *reserved) {
    (void)reserved;
    void *got = NULL;
    if ((*machine)->GetEnv(machine, &got, JNI_VERSION_1_6) != JNI_OK) return JNI_ERR;
    JNIEnv *env = got;
    vm = machine;
    native_class = global_class(env, "dev/qwip/Native");
    if (!native_class) return JNI_ERR;
    exception_class = global_class(env, "dev/qwip/QwipException");
    if (!exception_class) return JNI_ERR;
    exception_new = (*env)->GetMethodID(env, exception_class, "<init>", "(I[B)V");
    if (!exception_new) return JNI_ERR;
    on_progress = (*env)->GetStaticMethodID(env, native_class, "onProgress", "(JJJ)I");
    if (!on_progress) return JNI_ERR;
    on_log = (*env)->GetStaticMethodID(env, native_class, "onLog", "(I[B)V");
    if (!on_log) return JNI_ERR;
    on_release = (*env)->GetStaticMethodID(env, native_class, "onRelease", "(J)V");
    if (!on_release) return JNI_ERR;
    return JNI_VERSION_1_6;
}

JNIEXPORT void JNICALL JNI_OnUnload(JavaVM *machine, void *reserved) {
    (void)reserved;
    qwip_set_log(NULL, NULL, 0);
    void *got = NULL;
    if ((*machine)->GetEnv(machine, &got, JNI_VERSION_1_6) != JNI_OK) return;
    JNIEnv *env = got;
    (*env)->DeleteGlobalRef(env, native_class);
    (*env)->DeleteGlobalRef(env, exception_class);
}

/* --- errors --- */

void qj_throw(JNIEnv *env, qwip_status status, const char *message) {
    jbyteArray bytes = qj_bytes(env, message, strlen(message));
    if (!bytes) return;
    jobject exception = (*env)->NewObject(env, exception_class, exception_new, (jint)status, bytes);
    (*env)->DeleteLocalRef(env, bytes);
    if (!exception) return;
    (*env)->Throw(env, exception);
    (*env)->DeleteLocalRef(env, exception);
}

int qj_ok(JNIEnv *env, qwip_status status) {
    if (status == QWIP_STATUS_OK) return 1;
    char *message = NULL;
    if (qwip_last_error(&message) != QWIP_STATUS_OK) message = NULL;
    qj_throw(env, status, message ? message : qwip_status_name(status));
    qwip_string_free(message);
    return 0;
}

/* --- memory, text, arrays --- */

void *qj_alloc(JNIEnv *env, size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) {
        jclass error = (*env)->FindClass(env, "java/lang/OutOfMemoryError");
        if (error) (*env)->ThrowNew(env, error, "qwip: no memory for a copy of an array");
    }
    return memory;
}

char *qj_text(JNIEnv *env, jbyteArray bytes, size_t *length) {
    jsize count = (*env)->GetArrayLength(env, bytes);
    char *text = qj_alloc(env, (size_t)count + 1, 1);
    if (!text) return NULL;
    (*env)->GetByteArrayRegion(env, bytes, 0, count, (jbyte *)text);
    if ((*env)->ExceptionCheck(env)) {
        free(text);
        return NULL;
    }
    if (length) *length = (size_t)count;
    return text;
}

uint32_t *qj_tokens(JNIEnv *env, jintArray array, size_t *count) {
    jsize length = (*env)->GetArrayLength(env, array);
    uint32_t *tokens = qj_alloc(env, (size_t)length, sizeof *tokens);
    if (!tokens) return NULL;
    (*env)->GetIntArrayRegion(env, array, 0, length, (jint *)tokens);
    if ((*env)->ExceptionCheck(env)) {
        free(tokens);
        return NULL;
    }
    *count = (size_t)length;
    return tokens;
}

static int fits(JNIEnv *env, size_t count) {
    if (count <= INT32_MAX) return 1;
    jclass error = (*env)->FindClass(env, "java/lang/OutOfMemoryError");
    if (error) (*env)->ThrowNew(env, error, "qwip: longer than a Java array can be");
    return 0;
}

jbyteArray qj_bytes(JNIEnv *env, const void *bytes, size_t length) {
    if (!fits(env, length)) return NULL;
    jbyteArray array = (*env)->NewByteArray(env, (jsize)length);
    if (array) (*env)->SetByteArrayRegion(env, array, 0, (jsize)length, bytes);
    return array;
}

jintArray qj_ints(JNIEnv *env, const uint32_t *values, size_t count) {
    if (!fits(env, count)) return NULL;
    jintArray array = (*env)->NewIntArray(env, (jsize)count);
    if (array) (*env)->SetIntArrayRegion(env, array, 0, (jsize)count, (const jint *)values);
    return array;
}

jfloatArray qj_floats(JNIEnv *env, const float *values, size_t count) {
    if (!fits(env, count)) return NULL;
    jfloatArray array = (*env)->NewFloatArray(env, (jsize)count);
    if (array) (*env)->SetFloatArrayRegion(env, array, 0, (jsize)count, values);
    return array;
}

jbyteArray qj_take(JNIEnv *env, char *text) {
    jbyteArray bytes = qj_bytes(env, text, strlen(text));
    qwip_string_free(text);
    return bytes;
}

/* --- callbacks into Java --- */

/* The environment of this thread. One that the machine does not know is attached as a daemon, which does not keep the
 * process from ending, and `attached` says that `leave` has to let it go: a thread that ends attached leaks (and aborts
 * on Android). NULL if that fails: the machine is about to go. */
static JNIEnv *enter(int *attached) {
    void *got = NULL;
    *attached = 0;
    jint state = (*vm)->GetEnv(vm, &got, JNI_VERSION_1_6);
    if (state == JNI_OK) return got;
    if (state != JNI_EDETACHED) return NULL;
    static char name[] = "qwip";
    JavaVMAttachArgs args = {JNI_VERSION_1_6, name, NULL};
#ifdef __ANDROID__
    JNIEnv *env = NULL;
    if ((*vm)->AttachCurrentThreadAsDaemon(vm, &env, &args) != JNI_OK) return NULL;
    *attached = 1;
    return env;
#else
    if ((*vm)->AttachCurrentThreadAsDaemon(vm, &got, &args) != JNI_OK) return NULL;
    *attached = 1;
    return got;
#endif
}

/* 1 if Java threw. Its methods catch what listeners throw, so this is the machine's own: no memory, no stack left. */
static int leave(JNIEnv *env, int attached) {
    int thrown = (*env)->ExceptionCheck(env);
    if (thrown) (*env)->ExceptionClear(env);
    if (attached) (*vm)->DetachCurrentThread(vm);
    return thrown;
}

int32_t qj_on_progress(uint64_t done, uint64_t total, void *user) {
    int attached;
    JNIEnv *env = enter(&attached);
    if (!env) return 1;
    jint stop = (*env)->CallStaticIntMethod(env, native_class, on_progress, (jlong)(intptr_t)user, (jlong)done, (jlong)total);
    return leave(env, attached) ? 1 : stop;
}

void qj_on_release(void *user) {
    int attached;
    JNIEnv *env = enter(&attached);
    if (!env) return;
    (*env)->CallStaticVoidMethod(env, native_class, on_release, (jlong)(intptr_t)user);
    leave(env, attached);
}

static void log_line(int32_t level, const char *message, void *user) {
    (void)user;
    int attached;
    JNIEnv *env = enter(&attached);
    if (!env) return;
    jbyteArray bytes = qj_bytes(env, message, strlen(message));
    if (bytes) {
        (*env)->CallStaticVoidMethod(env, native_class, on_log, (jint)level, bytes);
        /* Perhaps inside a long call of Java's, whose local references would pile up. */
        (*env)->DeleteLocalRef(env, bytes);
    }
    leave(env, attached);
}

/* --- the library --- */

NATIVE(jint, abiVersion)(JNIEnv *env, jclass class) {
    (void)env, (void)class;
    return (jint)qwip_abi_version();
}

NATIVE(jbyteArray, version)(JNIEnv *env, jclass class) {
    (void)class;
    const char *text = qwip_version();
    return qj_bytes(env, text, strlen(text));
}

NATIVE(jbyteArray, statusName)(JNIEnv *env, jclass class, jint status) {
    (void)class;
    const char *text = qwip_status_name(status);
    return qj_bytes(env, text, strlen(text));
}

NATIVE(jboolean, hasFeature)(JNIEnv *env, jclass class, jbyteArray name) {
    (void)class;
    char *text = qj_text(env, name, NULL);
    if (!text) return JNI_FALSE;
    int has = qwip_has_feature(text);
    free(text);
    return has ? JNI_TRUE : JNI_FALSE;
}

NATIVE(void, setLog)(JNIEnv *env, jclass class, jint most_verbose) {
    (void)class;
    qj_ok(env, qwip_set_log(most_verbose ? log_line : NULL, NULL, most_verbose));
}
