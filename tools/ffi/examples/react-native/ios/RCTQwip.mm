#import "RCTQwip.h"

// Swift's classes, as Xcode writes them for the target that this file belongs to.
#import "QwipExample-Swift.h"

@implementation RCTQwip {
  QwipBridge *_bridge;
}

+ (NSString *)moduleName {
  return @"Qwip";
}

- (instancetype)init {
  if (self = [super init]) {
    _bridge = [QwipBridge new];
  }
  return self;
}

static void (^answer(RCTPromiseResolveBlock resolve, RCTPromiseRejectBlock reject))(id, NSError *) {
  return ^(id value, NSError *error) {
    if (error) {
      reject([NSString stringWithFormat:@"qwip_%ld", (long)error.code], error.localizedDescription, error);
    } else {
      resolve(value);
    }
  };
}

- (void)load:(NSString *)path
     context:(double)context
 memoryLimit:(double)memoryLimit
     resolve:(RCTPromiseResolveBlock)resolve
      reject:(RCTPromiseRejectBlock)reject {
  [_bridge loadWithPath:path context:context memoryLimit:memoryLimit answer:answer(resolve, reject)];
}

- (void)info:(double)chat resolve:(RCTPromiseResolveBlock)resolve reject:(RCTPromiseRejectBlock)reject {
  [_bridge infoWithChat:chat answer:answer(resolve, reject)];
}

- (void)estimate:(NSString *)path
         context:(double)context
         resolve:(RCTPromiseResolveBlock)resolve
          reject:(RCTPromiseRejectBlock)reject {
  [_bridge estimateWithPath:path context:context answer:answer(resolve, reject)];
}

- (void)start:(double)chat
      options:(NSString *)options
      resolve:(RCTPromiseResolveBlock)resolve
       reject:(RCTPromiseRejectBlock)reject {
  [_bridge startWithChat:chat options:options answer:answer(resolve, reject)];
}

- (void)next:(double)request resolve:(RCTPromiseResolveBlock)resolve reject:(RCTPromiseRejectBlock)reject {
  [_bridge nextWithRequest:request answer:answer(resolve, reject)];
}

- (void)cancel:(double)request {
  [_bridge cancelWithRequest:request];
}

- (void)close:(double)request {
  [_bridge closeWithRequest:request];
}

- (void)release:(double)chat {
  [_bridge releaseWithChat:chat];
}

- (std::shared_ptr<facebook::react::TurboModule>)getTurboModule:(const facebook::react::ObjCTurboModule::InitParams &)params {
  return std::make_shared<facebook::react::NativeQwipSpecJSI>(params);
}

@end
