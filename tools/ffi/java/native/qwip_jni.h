/* What the files of the glue share. Everything may be called on any thread that is attached to the virtual machine. */
#ifndef QWIP_JNI_H
#define QWIP_JNI_H

#include <jni.h>
#include <qwip.h>
#include <stddef.h>
#include <stdint.h>

/* A native method of dev.qwip.Native. */
#define NATIVE(type, name) JNIEXPORT type JNICALL Java_dev_qwip_Native_##name

/* Java keeps handles as numbers; the library takes any number, also one that was freed, without following it. */
#define MODEL(handle) ((qwip_model *)(intptr_t)(handle))
#define SESSION(handle) ((qwip_session *)(intptr_t)(handle))
#define SAMPLER(handle) ((qwip_sampler *)(intptr_t)(handle))
#define REQUEST(handle) ((qwip_request *)(intptr_t)(handle))

/* Throws a QwipException. `message` is UTF-8. */
void qj_throw(JNIEnv *env, qwip_status status, const char *message);

/* 1 if `status` is OK; else 0, with a QwipException pending. To be called right after the call on the library, on the same
 * thread: the message is asked for by thread, since the handle's own may be that of another thread's call by now. */
int qj_ok(JNIEnv *env, qwip_status status);

/* malloc that throws OutOfMemoryError and gives NULL; never NULL for 0 bytes. */
void *qj_alloc(JNIEnv *env, size_t count, size_t size);

/* The bytes with a NUL behind them, to be freed by the caller; NULL with an exception pending. `length` may be NULL. */
char *qj_text(JNIEnv *env, jbyteArray bytes, size_t *length);

/* The tokens, to be freed by the caller; NULL with an exception pending. */
uint32_t *qj_tokens(JNIEnv *env, jintArray array, size_t *count);

/* New Java arrays; NULL with an exception pending. */
jbyteArray qj_bytes(JNIEnv *env, const void *bytes, size_t length);
jintArray qj_ints(JNIEnv *env, const uint32_t *values, size_t count);
jfloatArray qj_floats(JNIEnv *env, const float *values, size_t count);

/* As bytes; `text` is a string of the library's and is freed. */
jbyteArray qj_take(JNIEnv *env, char *text);

/* Callbacks of a model; `user` is a number that Java knows. */
int32_t qj_on_progress(uint64_t done, uint64_t total, void *user);
void qj_on_release(void *user);

#endif
