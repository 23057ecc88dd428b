@file:JvmName("QwipFlow")

package dev.qwip

import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.filter
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.isActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/**
 * The events of this request. Collecting starts it, once; a collector that is cancelled or has enough cancels it at once,
 * also in the middle of a wait. The next event is fetched when the collector has taken the one before. A thread of
 * [dispatcher] waits for events while it is collected.
 *
 * The request is not closed: `session.newRequest().use { it.events().collect { ... } }`.
 */
public fun Request.events(dispatcher: CoroutineDispatcher = Dispatchers.IO): Flow<Event> =
    flow {
        start()
        coroutineScope {
            // The wait below is in the library and does not see the coroutine's end. This sees it, on the thread of whoever
            // cancels, since the dispatcher's only thread may be the waiting one.
            val watcher = launch(Dispatchers.Unconfined, CoroutineStart.UNDISPATCHED) {
                try {
                    awaitCancellation()
                } finally {
                    cancelQuietly()
                }
            }
            try {
                while (true) {
                    val event = next(-1) ?: break
                    currentCoroutineContext().ensureActive()
                    emit(event)
                }
            } finally {
                watcher.cancel()
            }
        }
    }.buffer(Channel.RENDEZVOUS).flowOn(dispatcher)

/** The answer's text alone, piece by piece. */
public fun Request.texts(dispatcher: CoroutineDispatcher = Dispatchers.IO): Flow<String> =
    events(dispatcher).filter { it.kind() == Event.Kind.TEXT }.map { it.text() }

/**
 * Opens and loads a model on [dispatcher]. [onProgress] hears bytes done and in total, on the thread that loads, where the
 * file is copied or read ahead. Cancelling stops the load at its next step. [setUp] makes settings and opens the file:
 * `loadModel { setPrefault(true).openPath(path) }`.
 */
public suspend fun loadModel(
    dispatcher: CoroutineDispatcher = Dispatchers.IO,
    onProgress: (done: Long, total: Long) -> Unit = { _, _ -> },
    setUp: Model.() -> Unit,
): Model = withContext(dispatcher) {
    val model = Model()
    try {
        model.setProgress { done, total ->
            onProgress(done, total)
            isActive
        }
        model.setUp()
        model.load()
        ensureActive()
        model
    } catch (e: Throwable) {
        model.close()
        ensureActive() // cancelled: that, and not the status it led to
        throw e
    }
}

/** [loadModel] for a file. */
public suspend fun loadModel(
    path: String,
    dispatcher: CoroutineDispatcher = Dispatchers.IO,
    onProgress: (done: Long, total: Long) -> Unit = { _, _ -> },
): Model = loadModel(dispatcher, onProgress) { openPath(path) }

private fun Request.cancelQuietly() {
    try {
        cancel()
    } catch (closed: QwipException) {
        // Closed meanwhile: nothing runs.
    }
}
