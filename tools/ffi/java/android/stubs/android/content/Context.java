package android.content;

import android.content.res.AssetManager;
import java.io.File;

public abstract class Context {
    public static final String POWER_SERVICE = "power";

    public abstract AssetManager getAssets();

    public abstract Context getApplicationContext();

    public abstract File getNoBackupFilesDir();

    public abstract Object getSystemService(String name);

    public native void registerComponentCallbacks(ComponentCallbacks callback);

    public native void unregisterComponentCallbacks(ComponentCallbacks callback);
}
