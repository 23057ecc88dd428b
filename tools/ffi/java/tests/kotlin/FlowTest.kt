package dev.qwip

import java.util.concurrent.Executors
import kotlin.system.exitProcess
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.catch
import kotlinx.coroutines.flow.fold
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

private fun ask(session: Session, question: String): Request =
    session.newRequest().setMessages(Messages().user(question).toString())

private fun endless(session: Session): Request = ask(session, "Hello").setIgnoreEos(true).setMaxTokens(1900)

private fun finish(request: Request): String {
    check(request.await(5000)) { "it still runs" }
    return Regex("\"finish_reason\":\"(\\w+)\"").find(request.result())!!.groupValues[1]
}

/** `FlowTestKt builtin.gguf`; a failure is an exception and an exit status. */
public fun main(args: Array<String>): Unit = runBlocking {
    var heard = 0
    val model = loadModel(onProgress = { _, _ -> heard++ }) { setPrefault(true).openPath(args[0]) }
    check(heard > 0) { "no progress" }

    model.newSession().use { session ->
        ask(session, "What is qwip?").use { request ->
            val text = request.texts().fold("") { all, piece -> all + piece }
            check("runtime" in text) { text }
        }
        println("ok      an answer as a flow")

        endless(session).use { request ->
            check(request.texts().take(2).toList().size == 2)
            check(finish(request) == "cancelled")
        }
        println("ok      a collector that has enough cancels the request")

        // One thread, which waits in the library when the collector is cancelled.
        Executors.newSingleThreadExecutor().asCoroutineDispatcher().use { single ->
            endless(session).use { request ->
                var events = 0
                val job = launch(Dispatchers.Default) { request.events(single).collect { events++ } }
                while (events < 2) delay(1)
                withTimeout(5000) { job.cancelAndJoin() }
                check(finish(request) == "cancelled")
            }
        }
        println("ok      a cancelled collector cancels the request")

        endless(session).use { request ->
            try {
                request.events().collect { error("mine") }
                error("nothing was thrown")
            } catch (e: IllegalStateException) {
                check(e.message == "mine") { e }
            }
            check(finish(request) == "cancelled")
        }
        println("ok      a collector that throws cancels the request")

        session.newRequest().use { request ->
            var problem: Throwable? = null
            request.events().catch { problem = it }.collect { error("an event") }
            check(problem is QwipException) { "$problem" }
        }
        println("ok      a request that cannot start fails the flow")
    }
    model.close()

    val job = async(Dispatchers.Default) {
        loadModel(onProgress = { _, _ -> coroutineContext[Job]!!.cancel() }) { setPrefault(true).openPath(args[0]) }
    }
    job.join()
    check(job.isCancelled) { "it was loaded" }
    println("ok      a cancelled load")
    loadModel(args[0]).close()
    exitProcess(0)
}
