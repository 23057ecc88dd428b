package dev.qwip.android;

import android.content.ComponentCallbacks2;
import android.content.Context;
import android.content.res.AssetFileDescriptor;
import android.content.res.AssetManager;
import android.content.res.Configuration;
import android.os.Build;
import android.os.PowerManager;
import dev.qwip.Model;
import dev.qwip.QwipException;
import java.io.IOException;

/**
 * What Android tells an app, told to a model: memory pressure and heat. Close it before the model.
 *
 * <p>Compiled where it was written against a few declarations only (android/stubs), not against the SDK.
 */
public final class QwipAndroid implements ComponentCallbacks2, AutoCloseable {
    private final Context context;
    private final Model model;
    private final Thermal thermal;

    private QwipAndroid(Context context, Model model) {
        this.context = context.getApplicationContext();
        this.model = model;
        this.context.registerComponentCallbacks(this);
        thermal = Build.VERSION.SDK_INT >= 29 ? new Thermal(this.context, this) : null;
    }

    /** From now on {@code model} hears of memory pressure and, on Android 10 and later, of heat. */
    public static QwipAndroid watch(Context context, Model model) {
        return new QwipAndroid(context, model);
    }

    /**
     * Opens an asset in place, without copying it out of the package. It must be stored uncompressed:
     * {@code androidResources { noCompress += "gguf" }}, or part of an asset pack.
     */
    public static void openAsset(Model model, AssetManager assets, String name) throws IOException {
        try (AssetFileDescriptor asset = assets.openFd(name)) {
            model.openFd(asset.getParcelFileDescriptor().getFd(), asset.getStartOffset(), asset.getLength());
        }
    }

    @Override
    public void onTrimMemory(int level) {
        pressure(Levels.pressure(level));
    }

    @Override
    public void onLowMemory() {
        pressure(Model.PRESSURE_CRITICAL);
    }

    @Override
    public void onConfigurationChanged(Configuration configuration) {}

    @Override
    public void close() {
        context.unregisterComponentCallbacks(this);
        if (thermal != null) {
            thermal.close();
        }
    }

    private void pressure(int level) {
        try {
            model.onMemoryPressure(level);
        } catch (QwipException e) {
            // Closed, or not loaded yet: it holds nothing.
        }
    }

    private void heat(int status) {
        try {
            model.onThermal(Levels.thermal(status));
        } catch (QwipException e) {
            // Closed: it computes nothing.
        }
    }

    /** A class of its own: its types are missing before Android 10, and a class is only looked at when it is used. */
    private static final class Thermal implements PowerManager.OnThermalStatusChangedListener {
        private final PowerManager power;
        private final QwipAndroid owner;

        Thermal(Context context, QwipAndroid owner) {
            this.owner = owner;
            power = (PowerManager) context.getSystemService(Context.POWER_SERVICE);
            power.addThermalStatusListener(this);
            owner.heat(power.getCurrentThermalStatus());
        }

        @Override
        public void onThermalStatusChanged(int status) {
            owner.heat(status);
        }

        void close() {
            power.removeThermalStatusListener(this);
        }
    }
}
