import SwiftUI

@main
struct QwipChatApp: App {
    @StateObject private var chat = ChatModel()

    var body: some Scene {
        WindowGroup {
            ChatView(chat: chat)
        }
    }
}
