// The wrapper as an Android library (AAR). Run build-native.sh first: it makes libqwip.so and the licence notices.
// Not run where it was written: that needs the Android SDK, the NDK and Google's Maven repository.
plugins {
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "dev.qwip"
    compileSdk = 36
    ndkVersion = "28.2.13676358"

    defaultConfig {
        minSdk = 24
        consumerProguardFiles("consumer-rules.pro")
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
        // The glue is C: no C++ library is packed.
        externalNativeBuild { cmake { arguments += "-DANDROID_STL=none" } }
    }

    // Builds the glue. libqwip.so is an imported library there, and so packed with it.
    externalNativeBuild { cmake { path = file("CMakeLists.txt") } }

    sourceSets["main"].apply {
        java.srcDirs("src/main/java", "../src")
        kotlin.srcDirs("../kotlin")
        assets.srcDirs(layout.buildDirectory.dir("qwip/assets"))
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
}

kotlin {
    explicitApi()
    compilerOptions { jvmTarget = org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_1_8 }
}

dependencies {
    api("org.jetbrains.kotlinx:kotlinx-coroutines-core:1.10.2")
}
