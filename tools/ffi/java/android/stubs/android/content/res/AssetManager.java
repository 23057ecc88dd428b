package android.content.res;

import java.io.IOException;

public final class AssetManager {
    public native AssetFileDescriptor openFd(String fileName) throws IOException;
}
