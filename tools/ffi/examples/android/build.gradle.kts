plugins {
    id("com.android.application")
}

android {
    namespace = "dev.qwip.example"
    compileSdk = 36

    defaultConfig {
        applicationId = "dev.qwip.example"
        minSdk = 24
        targetSdk = 36
        versionCode = 1
        versionName = "1"
    }

    // The model is read inside of the package, which works only where it is stored as it is.
    androidResources { noCompress += "gguf" }

    sourceSets["main"].assets.srcDirs(layout.buildDirectory.dir("model"))

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
}

// The small built-in model of the repository, so that the example answers without a download.
val model = tasks.register<Copy>("model") {
    from("../../../builtin/builtin.gguf")
    into(layout.buildDirectory.dir("model"))
}
tasks.named("preBuild") { dependsOn(model) }

dependencies {
    implementation(project(":qwip"))
}
