package dev.qwip.reactnative;

import com.facebook.react.BaseReactPackage;
import com.facebook.react.bridge.NativeModule;
import com.facebook.react.bridge.ReactApplicationContext;
import com.facebook.react.module.model.ReactModuleInfo;
import com.facebook.react.module.model.ReactModuleInfoProvider;
import java.util.Collections;

/** Tells React Native of the module; the app adds it to its packages. */
public final class QwipPackage extends BaseReactPackage {
    @Override
    public NativeModule getModule(String name, ReactApplicationContext context) {
        return name.equals(QwipModule.NAME) ? new QwipModule(context) : null;
    }

    @Override
    public ReactModuleInfoProvider getReactModuleInfoProvider() {
        // The name, the class, then: may not replace another, made when it is first needed, no C++, a TurboModule.
        String name = QwipModule.NAME;
        ReactModuleInfo info = new ReactModuleInfo(name, QwipModule.class.getName(), false, false, false, true);
        return () -> Collections.singletonMap(name, info);
    }
}
