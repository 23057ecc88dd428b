import Qwip
import SwiftUI
import UniformTypeIdentifiers

struct ChatView: View {
    @ObservedObject var chat: ChatModel
    @State private var text = ""
    @State private var choosing = false

    var body: some View {
        NavigationStack {
            VStack(spacing: 0) {
                if let share = chat.loadedShare {
                    ProgressView(value: share).padding()
                }
                ScrollView {
                    LazyVStack(spacing: 12) {
                        ForEach(Array(chat.messages.enumerated()), id: \.offset) { _, message in
                            bubble(message)
                        }
                    }
                    .padding()
                }
                Divider()
                HStack {
                    TextField("Message", text: $text, axis: .vertical)
                        .textFieldStyle(.roundedBorder)
                    if chat.isAnswering {
                        Button("Stop", systemImage: "stop.fill") { chat.stop() }
                    } else {
                        Button("Send", systemImage: "paperplane.fill") { send() }
                            .disabled(!chat.isReady || text.isEmpty)
                    }
                }
                .labelStyle(.iconOnly)
                .padding()
            }
            .navigationTitle(chat.note)
            .navigationBarTitleDisplayMode(.inline)
            .toolbar {
                Button("Model", systemImage: "folder") { choosing = true }
            }
            .fileImporter(isPresented: $choosing, allowedContentTypes: [.data]) { result in
                if case .success(let url) = result { chat.take(from: url) }
            }
            .task { chat.loadKept() }
        }
    }

    private func bubble(_ message: ChatMessage) -> some View {
        Text(message.content ?? "")
            .textSelection(.enabled)
            .padding(10)
            .background(message.role == .user ? Color.accentColor.opacity(0.2) : Color.gray.opacity(0.15))
            .clipShape(RoundedRectangle(cornerRadius: 12))
            .frame(maxWidth: .infinity, alignment: message.role == .user ? .trailing : .leading)
    }

    private func send() {
        chat.send(text)
        text = ""
    }
}
