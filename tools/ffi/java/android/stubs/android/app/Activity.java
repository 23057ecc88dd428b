package android.app;

import android.content.Context;
import android.content.res.AssetManager;
import android.os.Bundle;
import android.view.View;
import java.io.File;

public class Activity extends Context {
    protected native void onCreate(Bundle savedInstanceState);

    protected native void onStart();

    protected native void onStop();

    protected native void onDestroy();

    public native void setContentView(View view);

    public final native void runOnUiThread(Runnable action);

    @Override
    public native AssetManager getAssets();

    @Override
    public native Context getApplicationContext();

    @Override
    public native File getNoBackupFilesDir();

    @Override
    public native Object getSystemService(String name);
}
